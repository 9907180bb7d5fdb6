-- The last version of the copy that a replaced node took of its history (change.fork), when it took
-- it. Numbers have gaps, so it is not always the one before the version that replaced it. Null in
-- older entries: the version before.
ALTER TABLE linkspan.change ADD COLUMN fork_version bigint;
