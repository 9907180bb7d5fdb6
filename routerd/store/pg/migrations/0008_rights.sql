-- Routes that may be written to in part, and what a pattern says beside the policy of conflicts.
ALTER TABLE linkspan.token_route ADD COLUMN rights smallint;        -- linkspan::Access
UPDATE linkspan.token_route SET rights = CASE WHEN writable THEN 4 ELSE 1 END;
ALTER TABLE linkspan.token_route ALTER COLUMN rights SET NOT NULL, DROP COLUMN writable;
ALTER TABLE linkspan.token_pattern
  ALTER COLUMN policy DROP NOT NULL,
  ADD COLUMN access smallint,                      -- linkspan::Access
  ADD COLUMN no_exec boolean,
  ADD COLUMN max_bytes bigint,
  ADD COLUMN allowed text NOT NULL DEFAULT '';     -- globs of names, with '/' between them
