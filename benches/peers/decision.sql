-- One decision, as the appliance makes it: idempotent by ticket id, account, market, price, stake, limits, stored.
CREATE TABLE account (customer bigint PRIMARY KEY, limit_minor bigint NOT NULL, open_minor bigint NOT NULL)
  WITH (fillfactor = 50);
CREATE TABLE selection (
  fixture bigint, kind int, line int, number int, active boolean NOT NULL, void_before bigint NOT NULL,
  price_milli int NOT NULL, limit_minor bigint NOT NULL, exposure_minor bigint NOT NULL,
  PRIMARY KEY (fixture, kind, line, number)) WITH (fillfactor = 50);
CREATE TABLE ticket (
  ticket uuid PRIMARY KEY, code int NOT NULL, odds_milli int NOT NULL, stake_minor bigint NOT NULL,
  returned_minor bigint NOT NULL, decided bigint NOT NULL);
CREATE SEQUENCE decided CACHE 1;

CREATE FUNCTION decide(
  t uuid, c bigint, f bigint, k int, l int, s int, asked int, stake bigint, policy int, tolerance int, version bigint)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  a account; m selection; r ticket; code int := 0; winnings bigint := 0;
BEGIN
  SELECT * INTO r FROM ticket WHERE ticket.ticket = t;
  IF FOUND THEN
    RETURN concat_ws(':', r.code, r.odds_milli, r.stake_minor, r.returned_minor, r.decided);
  END IF;
  -- Always in this order, so that no two of them wait for each other.
  SELECT * INTO a FROM account WHERE customer = c FOR UPDATE;
  SELECT * INTO m FROM selection WHERE fixture = f AND kind = k AND line = l AND number = s FOR UPDATE;
  IF a.customer IS NULL THEN code := 30;
  ELSIF m.fixture IS NULL THEN code := 42;
  ELSIF NOT m.active THEN code := 43;
  ELSIF version < m.void_before THEN code := 61;
  ELSIF (policy = 0 AND m.price_milli <> asked) OR (policy = 1 AND m.price_milli < asked)
    OR (policy = 3 AND m.price_milli::bigint * 1000 < asked::bigint * (1000 - tolerance)) THEN code := 65;
  ELSIF stake < 10 THEN code := 70;
  ELSIF stake > 100000000 THEN code := 71;
  ELSE
    winnings := stake * m.price_milli / 1000 - stake;
    IF a.open_minor + winnings > a.limit_minor THEN code := 90;
    ELSIF m.exposure_minor + winnings > m.limit_minor THEN code := 100;
    END IF;
  END IF;
  IF code = 0 THEN
    UPDATE account SET open_minor = open_minor + winnings WHERE customer = c;
    UPDATE selection SET exposure_minor = exposure_minor + winnings
      WHERE fixture = f AND kind = k AND line = l AND number = s;
    r := (t, code, m.price_milli, stake, stake + winnings, nextval('decided'));
  ELSE
    r := (t, code, asked, stake, 0, nextval('decided'));
  END IF;
  INSERT INTO ticket VALUES (r.*);
  RETURN concat_ws(':', r.code, r.odds_milli, r.stake_minor, r.returned_minor, r.decided);
END $$;
