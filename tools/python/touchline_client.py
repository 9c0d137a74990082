"""A small client of a Touchline node or cluster: Python's standard library alone, the bytes from schema.xml.

    client = Client([("10.0.0.1", 7400), ("10.0.0.2", 7400)], "INTAKE", "shop")
    answer = client.submit(ticket)          # waits; the one final answer
    request = client.send("SubmitTicket", ticket)
    for event in client.poll(0.1): ...      # ("answered", request, name, fields) and others, see Client.poll

It holds a connection to each address open, sends only to the node that leads, and gives what is unanswered to the next
one under the same request number and ticket id. It never hands out two answers for one request.
"""

import os
import secrets
import selectors
import socket
import struct
import time
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
SCHEMA = os.environ.get("TOUCHLINE_SCHEMA") or os.path.join(HERE, "..", "..", "engine", "protocol", "schema.xml")
MAGIC = b"TLF\x01"
FRAME_BYTES_MAX = 65_536
PARTITION_NONE = 65_534
RETRY_S = 0.02
CONNECT_S = 1.0
MASK = 2**64 - 1

# What may go a second time by itself; of anything else nobody knows whether it ran.
SENT_AGAIN = {"SubmitTicket", "OpenAccount", "OpenFixture", "OpenMarkets", "Incident", "SourceFresh", "Reopen"}


# --- the schema -------------------------------------------------------------------------------------------------------

PRIMITIVES = {"uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q", "int32": "i", "int64": "q", "char": "s"}


class Number:
    """One number, or a fixed array of them."""

    def __init__(self, primitive, length=1):
        self.bytes_like = length > 1 and primitive in ("uint8", "char")
        letter = f"{length}s" if self.bytes_like else f"{length if length > 1 else ''}{PRIMITIVES[primitive]}"
        self.format, self.length = struct.Struct("<" + letter), length
        self.size = self.format.size

    def put(self, value):
        return self.format.pack(*value) if self.length > 1 and not self.bytes_like else self.format.pack(value)

    def get(self, data, at):
        found = self.format.unpack_from(data, at)
        return list(found) if self.length > 1 and not self.bytes_like else found[0]


class Enum:
    """A number that has a name."""

    def __init__(self, number, names):
        self.number, self.size, self.names = number, number.size, names
        self.values = {name: value for value, name in names.items()}

    def put(self, value):
        return self.number.put(self.values[value] if isinstance(value, str) else int(value))

    def get(self, data, at):
        value = self.number.get(data, at)
        return {"FALSE": False, "TRUE": True}.get(self.names[value], self.names[value])


class Composite:
    """Named parts back to back."""

    def __init__(self, parts):
        self.parts, self.size = parts, sum(part.size for _, part in parts)

    def put(self, values):
        return b"".join(part.put(values[name]) for name, part in self.parts)

    def get(self, data, at):
        values = {}
        for name, part in self.parts:
            values[name] = part.get(data, at)
            at += part.size
        return values


class Message:
    """A block, its lists and its texts."""

    def __init__(self, element, types):
        self.name, self.number = element.get("name"), int(element.get("id"))

        def fields(of):
            return Composite([(field.get("name"), types(field.get("type"))) for field in of.findall("field")])

        self.block = fields(element)
        assert self.block.size == int(element.get("blockLength")), self.name
        self.groups = [(group.get("name"), fields(group)) for group in element.findall("group")]
        self.texts = [data.get("name") for data in element.findall("data")]

    def put(self, values):
        out = [self.block.put(values)]
        for name, entry in self.groups:
            out += [struct.pack("<HH", entry.size, len(values[name]))] + [entry.put(each) for each in values[name]]
        for name in self.texts:
            text = values[name].encode()
            out += [struct.pack("<H", len(text)), text]
        return b"".join(out)

    def get(self, data, block_length):
        values, at = self.block.get(data, 0), block_length
        for name, entry in self.groups:
            size, count = struct.unpack_from("<HH", data, at)
            values[name] = [entry.get(data, at + 4 + size * n) for n in range(count)]
            at += 4 + size * count
        for name in self.texts:
            (length,) = struct.unpack_from("<H", data, at)
            values[name] = bytes(data[at + 2 : at + 2 + length]).decode()
            at += 2 + length
        return values


class Schema:
    """Everything of schema.xml that reading and writing needs."""

    def __init__(self, path):
        root = xml.etree.ElementTree.parse(path).getroot()
        self.version, self.types = int(root.get("version")), {}
        for element in root.find("types"):
            self.types[element.get("name")] = self._type(element)
        self.header = self.types["messageHeader"]
        messages = [element for element in root if element.tag.endswith("}message")]
        made = [Message(element, self._named) for element in messages]
        self.by_name = {message.name: message for message in made}
        self.by_number = {message.number: message for message in made}

    def _named(self, name):
        return self.types[name] if name in self.types else Number(name)

    def _type(self, element):
        if element.tag == "type":
            length = int(element.get("length", 1))
            return Number(element.get("primitiveType"), length) if length else None
        if element.tag == "enum":
            return Enum(self._named(element.get("encodingType")), {int(v.text): v.get("name") for v in element})
        if any(part.get("length") == "0" for part in element):
            return None
        parts = [(p.get("name"), self._named(p.get("type")) if p.tag == "ref" else self._type(p)) for p in element]
        return Composite(parts)


SCHEMA = Schema(SCHEMA)


# --- the frame: what SBE does not cover -------------------------------------------------------------------------------


def _crc_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


CRC_TABLE = _crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


NOTHING = {"cluster": 0, "epoch": 0, "seq": 0, "at": 0, "wall": 0, "previous": bytes(16), "origin": 0, "request": 0}


def encode(name, values, **header):
    """The frame of a message; `header` may set fields of the header."""
    message = SCHEMA.by_name[name]
    body = message.put(values)
    fields = {
        **NOTHING,
        "magic": MAGIC,
        "crc": 0,
        "length": SCHEMA.header.size + len(body),
        "templateId": message.number,
        "blockLength": message.block.size,
        "version": SCHEMA.version,
        "partition": PARTITION_NONE,
        "schemaId": 0,
        "reserved": 0,
        **header,
    }
    rest = (SCHEMA.header.put(fields) + body)[8:]
    return MAGIC + struct.pack("<I", crc32c(rest)) + rest


def decode(data):
    """Header, name and values of the frame at the front, and its length; `None` while it is not all there. The name is
    `None` where the schema does not know the message."""
    if not MAGIC.startswith(bytes(data[:4])):
        raise ValueError(f"not a frame: {bytes(data[:4])!r}")
    if len(data) < SCHEMA.header.size:
        return None
    header = SCHEMA.header.get(data, 0)
    length = header["length"]
    if not SCHEMA.header.size <= length <= FRAME_BYTES_MAX:
        raise ValueError(f"frame length {length}")
    if len(data) < length:
        return None
    if header["crc"] != crc32c(memoryview(data)[8:length]) or header["reserved"] or header["schemaId"]:
        raise ValueError("a damaged frame")
    message = SCHEMA.by_number.get(header["templateId"])
    if message is None or header["version"] > SCHEMA.version:
        return header, None, {}, length
    body = bytes(data[SCHEMA.header.size : length])
    return header, message.name, message.get(body, header["blockLength"]), length


# --- ticket ids -------------------------------------------------------------------------------------------------------


def customer_hash(brand, customer):
    """The low 16 bits of XXH3-64 over the ten bytes of brand and customer: its case of 9 to 16 bytes with seed 0."""
    data = struct.pack("<HQ", brand, customer)
    # Bytes 24 to 55 of the hash's own secret.
    secret = struct.unpack("<4Q", bytes.fromhex("7240a4a4b7b3671f cb79e64eccc0e578 825ad07dccff7221 b8084674f743248e"))
    low = struct.unpack_from("<Q", data, 0)[0] ^ secret[0] ^ secret[1]
    high = struct.unpack_from("<Q", data, len(data) - 8)[0] ^ secret[2] ^ secret[3]
    product = low * high
    swapped = int.from_bytes(low.to_bytes(8, "little"), "big")
    value = len(data) + swapped + high + (product & MASK ^ product >> 64) & MASK
    value = (value ^ value >> 37) * 0x165667919E3779F9 & MASK
    return (value ^ value >> 32) & 0xFFFF


def new_ticket_id(brand, customer, now_ms=None):
    """A fresh id. Keep it before the ticket is sent: whoever asks again under it gets the same answer."""
    now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    head = (now_ms & 2**48 - 1) << 16 | customer_hash(brand, customer)
    return head.to_bytes(8, "big") + secrets.token_bytes(8)


# --- the client -------------------------------------------------------------------------------------------------------


class Node:
    """One address, and the connection to it where there is one."""

    def __init__(self, address):
        self.address, self.socket, self.up, self.next_try = address, None, False, 0.0
        self.read, self.out = bytearray(), bytearray()


class Request:
    """What is unanswered. `node` has it where it is not `None`; before `due` it is not sent again."""

    def __init__(self, name, values):
        self.name, self.values, self.node, self.due = name, values, None, 0.0


class Client:
    """A client of all the nodes of a cluster, or of one node outside any."""

    def __init__(self, addresses, role, name):
        self.nodes = [Node(address) for address in addresses]
        self.role, self.name, self.epoch, self.leader = role, name, 0, None
        self.requests, self.next_request, self.first, self.events = {}, 1, {}, []
        self.selector = selectors.DefaultSelector()

    def send(self, name, values):
        """Sends a command once a node leads and remembers it until it is answered; its request number."""
        request, self.next_request = self.next_request, self.next_request + 1
        self.requests[request] = Request(name, values)
        return request

    def submit(self, ticket, patience_s=30.0):
        """Submits a ticket and waits for its final answer: the fields of its Decision."""
        return self.ask("SubmitTicket", ticket, patience_s)

    def ask(self, name, values, patience_s=30.0):
        """Sends a command and waits for its answer; other events that come meanwhile stay for the next poll."""
        wanted, deadline, kept = self.send(name, values), time.monotonic() + patience_s, []
        try:
            while time.monotonic() < deadline:
                for event in self.poll(min(0.05, patience_s)):
                    kept.append(event)
                    if event[:2] == ("answered", wanted):
                        kept.pop()
                        if event[2] in ("Refused", "Unknown"):
                            raise RuntimeError(f"{name}: {event[2]} {event[3]}")
                        return event[3]
        finally:
            self.events = kept + self.events
        raise TimeoutError(f"no answer to {name} within {patience_s} s")

    def poll(self, wait_s):
        """Sends and reads, waiting at most so long; what happened:

        ("answered", request, "Decision" | "Done" | "Refused" | "Unknown", fields): once a request. Unknown: the node was
            lost, and the command, which is not one to be sent again by itself, may or may not have run;
        ("leader", epoch, place among the addresses or None); ("hold", epoch, held);
        ("differs", first, second): two answers to one ticket, of which the first stands;
        ("rejected", place, fields): a node refused the greeting; ("told", name, fields): a message of the leader.
        """
        self._connect()
        self._write()
        if not self.events:
            now = time.monotonic()
            due = [held.due - now for held in self.requests.values() if held.due > now]
            retry = [node.next_try - now for node in self.nodes if node.socket is None]
            wait = max(0.0, min([wait_s] + due + retry))
            if self.selector.get_map():
                for key, _ in self.selector.select(wait):
                    self._ready(key.data)
            else:
                time.sleep(wait)
            self._write()
        events, self.events = self.events, []
        return events

    def close(self):
        for node in self.nodes:
            if node.socket:
                self._broken(node)
        self.selector.close()

    def _connect(self):
        for node in self.nodes:
            if node.socket or time.monotonic() < node.next_try:
                continue
            node.next_try = time.monotonic() + RETRY_S
            node.socket, node.read, node.out = socket.socket(), bytearray(), bytearray()
            node.socket.setblocking(False)
            node.socket.connect_ex(node.address)
            node.next_try = time.monotonic() + CONNECT_S
            self.selector.register(node.socket, selectors.EVENT_WRITE, node)

    def _ready(self, node):
        if not node.up:
            failed = node.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            # A kernel may give it the very port that nobody listens on: then it hears only itself.
            if failed or node.socket.getsockname() == node.address:
                return self._broken(node)
            node.up = True
            node.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            hello = {"role": self.role, "version": 1, "epoch": self.epoch, "name": self.name}
            node.out += encode("Hello", hello, epoch=self.epoch)
            self.selector.modify(node.socket, selectors.EVENT_READ, node)
            return None
        try:
            data = node.socket.recv(65_536)
            if not data:
                return self._broken(node)
            node.read += data
            while node.socket and (found := decode(node.read)):
                header, name, values, length = found
                del node.read[:length]
                self._take(node, header, name, values)
        except BlockingIOError:
            pass
        except (OSError, ValueError):
            self._broken(node)
        return None

    def _write(self):
        now = time.monotonic()
        # A connection that does not come about is given up and tried again.
        for node in [node for node in self.nodes if node.socket and not node.up and now > node.next_try]:
            self._broken(node)
        if self.leader is not None:
            for request, held in self.requests.items():
                if held.node is None and held.due <= now:
                    held.node = self.leader
                    self.leader.out += encode(held.name, held.values, epoch=self.epoch, request=request)
        for node in self.nodes:
            if not node.up:
                continue
            try:
                if node.out:
                    del node.out[: node.socket.send(node.out)]
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if node.out else 0)
                self.selector.modify(node.socket, wanted, node)
            except BlockingIOError:
                pass
            except OSError:
                self._broken(node)

    def _broken(self, node):
        self.selector.unregister(node.socket)
        node.socket.close()
        node.socket, node.up, node.next_try = None, False, time.monotonic() + RETRY_S
        if self.leader is node:
            self._lead(None)
        self._reclaim(node)

    def _lead(self, node):
        if node is self.leader:
            return
        if node is not None:
            for each in self.nodes:
                self._reclaim(each)
            for held in self.requests.values():
                held.due = 0.0
        self.leader = node
        self.events.append(("leader", self.epoch, None if node is None else self.nodes.index(node)))

    def _reclaim(self, node):
        for request, held in list(self.requests.items()):
            if held.node is node:
                held.node = None
                if held.name not in SENT_AGAIN:
                    self._answer(request, "Unknown", held.values)

    def _answer(self, request, name, values):
        if self.requests.pop(request, None):
            self.events.append(("answered", request, name, values))

    def _take(self, node, header, name, values):
        request, epoch = header["request"], header["epoch"]
        held = self.requests.get(request)
        if name == "Refused" and request == 0:
            return self.events.append(("rejected", self.nodes.index(node), values))
        known = values["epoch"] if name == "Leader" else epoch
        if max(known, epoch) > self.epoch:
            self.epoch = max(known, epoch)
            if self.leader is not node:
                self._lead(None)
        if known < self.epoch:
            # Of an old epoch: no answer. Where it was to a request that is with this node still, no other will come.
            if held and held.node is node:
                held.node, held.due = None, time.monotonic() + RETRY_S
                if held.name not in SENT_AGAIN:
                    self._answer(request, "Unknown", held.values)
        elif name == "Leader" or name == "Welcome":
            if name == "Leader" and values["leads"] or name == "Welcome" and len(self.nodes) == 1:
                self._lead(node)
            elif name == "Leader" and self.leader is node:
                self._lead(None)
        elif name == "Decision" and request:
            self._decided(request, held, values)
        elif name == "Done":
            self._answer(request, name, values)
        elif name == "Refused":
            if held and held.node is node:
                if values["code"] in ("OVERLOADED", "DISK_FULL", "NOT_PRIMARY"):
                    held.node, held.due = None, time.monotonic() + max(values["retry_ms"] / 1000, RETRY_S)
                else:
                    self._answer(request, name, values)
        elif self.leader is node and name == "Hold":
            self.events.append(("hold", values["epoch"], values["held"]))
        elif self.leader is node and name not in (None, "Pong"):
            self.events.append(("told", name, values))
        return None

    def _decided(self, request, held, values):
        key = (values["brand"], values["ticket"])
        first = self.first.get(key) if values["code"] != "DUPLICATE_CONFLICT" else None
        if first is not None and first != values:
            self.events.append(("differs", first, values))
        if held and held.name == "SubmitTicket" and (held.values["brand"], held.values["ticket"]) == key:
            if first is None and values["code"] != "DUPLICATE_CONFLICT":
                self.first[key] = values
                if len(self.first) > 16_384:
                    del self.first[next(iter(self.first))]
            self._answer(request, "Decision", first or values)
