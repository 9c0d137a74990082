"""Bets on one selection through the Python client, for a test: one JSON line an answer.

    bets.py ADDRESS[,ADDRESS...] FIXTURE CUSTOMER ODDS VERSION COUNT

Prints each answer of COUNT tickets; then waits for a line on stdin, sends 50 more, tells that they have left, and prints
their answers. Anything but one answer a ticket ends it with an error.
"""

import json
import sys

from touchline_client import Client, new_ticket_id

IN_FLIGHT = 64


def say(values):
    print(json.dumps(values), flush=True)


def main():
    addresses = [(host, int(port)) for host, port in (a.rsplit(":", 1) for a in sys.argv[1].split(","))]
    fixture, customer, odds, version, count = map(int, sys.argv[2:])
    client = Client(addresses, "INTAKE", "bets.py")
    open_requests = {}

    def send():
        ticket = {
            "brand": 1,
            "ticket": new_ticket_id(1, customer),
            "customer": customer,
            "currency": b"EUR",
            "channel": 1,
            "fixture": fixture,
            "market": {"number": 1, "line_in_quarters": 0},
            "selection": 0,
            "odds": {"thousandths": odds, "num": 0, "den": 0},
            "stake": 1000,
            "policy": "ANY",
            "tolerance_permille": 0,
            "price_version": version,
        }
        open_requests[client.send("SubmitTicket", ticket)] = ticket

    def take():
        for event in client.poll(1.0):
            if event[0] == "leader":
                say({"leader": event[2], "epoch": event[1]})
                continue
            kind, request, name, m = event
            ticket = open_requests.pop(request)
            assert (kind, name, m["ticket"]) == ("answered", "Decision", ticket["ticket"]), event
            say({"ticket": m["ticket"].hex(), "code": m["code"], "odds": m["odds"]["thousandths"], "stake": m["stake"],
                 "returned_minor": m["returned_minor"], "decided": m["decided"]})

    sent = 0
    while sent < count or open_requests:
        while sent < count and len(open_requests) < IN_FLIGHT:
            send()
            sent += 1
        take()
    say({"waiting": True})
    if not sys.stdin.readline():
        return
    for _ in range(50):
        send()
    while not all(held.node and not held.node.out for held in client.requests.values()):
        take()
    say({"left": len(open_requests)})
    while open_requests:
        take()


main()
