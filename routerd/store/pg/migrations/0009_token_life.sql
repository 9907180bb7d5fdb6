-- Tokens that were narrowed from others, bound to a sandbox, held to addresses, renewed by sessions.
ALTER TABLE linkspan.token
  ADD COLUMN parent bytea REFERENCES linkspan.token ON DELETE CASCADE,  -- null: it was configured
  ADD COLUMN bind boolean NOT NULL DEFAULT false,
  ADD COLUMN sources text NOT NULL DEFAULT '',        -- address ranges, with ' ' between them
  ADD COLUMN renew bigint NOT NULL DEFAULT 0,         -- seconds; 0: it is not renewed
  ADD COLUMN bound_to bytea,                          -- SHA-256 of a sandbox's secret
  ADD COLUMN renewed_until bigint;
CREATE INDEX token_parent ON linkspan.token (parent) WHERE parent IS NOT NULL;
ALTER TABLE linkspan.token_route
  ADD COLUMN reaches bytea NOT NULL DEFAULT '';       -- paths, with a NUL between them
