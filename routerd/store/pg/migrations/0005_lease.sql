-- The longest lease, in milliseconds, that the tenant's owner grants, or that an earlier one granted whose
-- leases may still run: so long its successor waits.
ALTER TABLE linkspan.tenant ADD COLUMN lease bigint;
