-- When the tenant's owner last said that it lives, by this server's clock.
ALTER TABLE linkspan.tenant ADD COLUMN beat timestamptz;
