-- Files of a route with another policy, in the order in which they are tried; they go with their route.
CREATE TABLE linkspan.token_pattern (
  hash   bytea NOT NULL,
  route  integer NOT NULL,              -- linkspan.token_route.place
  place  integer NOT NULL,
  glob   text NOT NULL,
  policy smallint NOT NULL,             -- linkspan::Policy
  PRIMARY KEY (hash, route, place),
  FOREIGN KEY (hash, route) REFERENCES linkspan.token_route (hash, place) ON DELETE CASCADE
);
