-- Whose rename took the last name of a replaced file (shared_history). Null in older rows: not known.
ALTER TABLE linkspan.orphan ADD COLUMN replaced_by bigint;
