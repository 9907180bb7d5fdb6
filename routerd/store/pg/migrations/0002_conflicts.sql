-- What refused writers wrote: each row lists a node without a name (theirs) and goes with it.
CREATE TABLE linkspan.conflict (
  tenant    integer NOT NULL,
  volume    integer NOT NULL,
  number    bigint NOT NULL,             -- seq of the change that kept it
  ino       bigint NOT NULL,             -- the file that it was meant for
  dir       bigint NOT NULL,             -- the directory that holds `path`; 0: none
  base_ino  bigint NOT NULL,
  base      bigint NOT NULL,
  head      bigint NOT NULL,
  theirs    bigint NOT NULL,
  size      bigint NOT NULL,
  session   bigint NOT NULL,
  op        bigint NOT NULL,             -- the operation that was refused
  at        bigint NOT NULL,
  settled   boolean NOT NULL DEFAULT false,
  what      text NOT NULL,
  principal text NOT NULL,
  sandbox   text NOT NULL,
  path      bytea NOT NULL,
  PRIMARY KEY (tenant, number)
) WITH (fillfactor = 90);
CREATE UNIQUE INDEX conflict_operation ON linkspan.conflict (tenant, session, op);
CREATE UNIQUE INDEX conflict_theirs ON linkspan.conflict (tenant, theirs);
CREATE INDEX conflict_open ON linkspan.conflict (tenant, number) WHERE NOT settled;
