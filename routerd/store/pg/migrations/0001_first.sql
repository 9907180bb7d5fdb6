-- The schema of Linkspan. Every key begins with the tenant. Times are nanoseconds since the epoch.
-- Unsigned 64-bit values (sessions) keep their bits in a bigint.

CREATE TABLE linkspan.tenant (
  id        integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name      text NOT NULL UNIQUE,
  epoch     bigint NOT NULL DEFAULT 0,   -- of the router that owns it
  next_ino  bigint NOT NULL DEFAULT 16,
  last_seq  bigint NOT NULL DEFAULT 0    -- when it was last opened: usage is counted up to here
) WITH (fillfactor = 50);

CREATE TABLE linkspan.volume (
  id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant        integer NOT NULL REFERENCES linkspan.tenant,
  name          text NOT NULL,
  root          bigint NOT NULL,
  quota_bytes   bigint NOT NULL,         -- 0: none
  quota_files   bigint NOT NULL,
  keep_versions bigint NOT NULL,
  keep_days     bigint NOT NULL,
  used_bytes    bigint NOT NULL DEFAULT 0,  -- without the changes after tenant.last_seq
  used_files    bigint NOT NULL DEFAULT 0,
  trimmed_seq   bigint NOT NULL DEFAULT 0,  -- prune: keep_versions was applied up to this change
  pruned_seq    bigint NOT NULL DEFAULT 0,  -- prune: the log was cut up to this change
  UNIQUE (tenant, name)
) WITH (fillfactor = 50);

CREATE TABLE linkspan.node (
  tenant       integer NOT NULL,
  volume       integer NOT NULL,
  ino          bigint NOT NULL,
  kind         smallint NOT NULL,        -- linkspan::Kind
  owns_history boolean NOT NULL,         -- false: a replaced node; another one goes on with history
  has_xattrs   boolean NOT NULL,
  mode         integer NOT NULL,
  nlink        integer NOT NULL,
  uid          bigint NOT NULL,
  gid          bigint NOT NULL,
  size         bigint NOT NULL,
  allocated    bigint NOT NULL,
  atime        bigint NOT NULL,
  mtime        bigint NOT NULL,
  ctime        bigint NOT NULL,
  btime        bigint NOT NULL,
  seq          bigint NOT NULL,
  version      bigint NOT NULL,
  history      bigint NOT NULL,          -- key of its versions: the seq that began it; 0: none
  dver         bigint NOT NULL,          -- state of the content: counts its commits
  floor        bigint NOT NULL,          -- segments of an older dver do not count any more
  parent       bigint NOT NULL,          -- directories
  last_cookie  bigint NOT NULL,          -- directories: the highest that was ever used
  target       bytea,                    -- symlinks
  PRIMARY KEY (tenant, ino)
) WITH (fillfactor = 70);

CREATE TABLE linkspan.dentry (
  tenant integer NOT NULL,
  parent bigint NOT NULL,
  ino    bigint NOT NULL,
  cookie bigint NOT NULL,                -- place in the directory
  seq    bigint NOT NULL,                -- of the change that gave the node this name
  name   bytea NOT NULL,
  PRIMARY KEY (tenant, parent, name)
) WITH (fillfactor = 90);
-- For listings only. An expression, so that no plan for a single name can take this index: without
-- statistics both look alike to the planner, and this one would read the whole directory.
CREATE UNIQUE INDEX dentry_place ON linkspan.dentry (tenant, (parent + 0), cookie);
CREATE INDEX dentry_node ON linkspan.dentry (tenant, ino);

-- Nodes without a name, until they are pruned.
CREATE TABLE linkspan.orphan (
  tenant integer NOT NULL,
  ino    bigint NOT NULL,
  volume integer NOT NULL,
  at     bigint NOT NULL,
  shared_history bigint,                 -- of a replaced file: another one goes on with its history
  PRIMARY KEY (tenant, ino)
);
CREATE INDEX orphan_age ON linkspan.orphan (tenant, volume, at);
CREATE INDEX orphan_history ON linkspan.orphan (tenant, shared_history)
  WHERE shared_history IS NOT NULL;

-- Histories that nobody goes on with; they stay for the orphans that share them.
CREATE TABLE linkspan.lost_history (
  tenant  integer NOT NULL,
  history bigint NOT NULL,
  PRIMARY KEY (tenant, history)
);

-- What the content of a name was. `ino`, `dver` and `floor` say which segments hold it.
CREATE TABLE linkspan.version (
  tenant    integer NOT NULL,
  history   bigint NOT NULL,
  version   bigint NOT NULL,
  ino       bigint NOT NULL,
  dver      bigint NOT NULL,
  floor     bigint NOT NULL,
  size      bigint NOT NULL,
  session   bigint NOT NULL,
  at        bigint NOT NULL,
  what      text NOT NULL,
  principal text NOT NULL,
  sandbox   text NOT NULL,
  PRIMARY KEY (tenant, history, version)
);
CREATE INDEX version_content ON linkspan.version (tenant, ino, dver);

-- Content, in pieces of chunks (limits::kChunkBytes). A chunk at state d is its newest row with
-- floor <= dver <= d, laid over those from that row's base_dver on, in (dver, part) order; base_dver
-- names a full one. No row: a hole.
CREATE TABLE linkspan.segment (
  tenant    integer NOT NULL,
  chunk     integer NOT NULL,
  ino       bigint NOT NULL,
  dver      bigint NOT NULL,
  base_dver bigint NOT NULL,
  part      smallint NOT NULL,
  full_     boolean NOT NULL,            -- replaces the whole chunk; what it does not cover is zeros
  start     integer NOT NULL,            -- within the chunk
  len       integer NOT NULL,
  weight    integer NOT NULL,            -- cost of reading the rows since base_dver
  filled    integer NOT NULL,            -- end of the chunk's last stored byte after this row
  data      bytea,                       -- null: zeros
  PRIMARY KEY (tenant, ino, chunk, dver, part)
) WITH (toast_tuple_target = 8160);
-- Not compressed, so that parts of it can be read; in the row itself while it fits a page.
ALTER TABLE linkspan.segment ALTER COLUMN data SET STORAGE EXTERNAL;

-- Inodes that may hold segments which no version needs any more; `seq` is of the change that left them
-- so, 0 if it was prune itself.
CREATE TABLE linkspan.garbage (
  tenant integer NOT NULL,
  seq    bigint NOT NULL,
  ino    bigint NOT NULL,
  PRIMARY KEY (tenant, seq, ino)
);

CREATE TABLE linkspan.xattr (
  tenant integer NOT NULL,
  ino    bigint NOT NULL,
  name   bytea NOT NULL,
  value  bytea NOT NULL,
  PRIMARY KEY (tenant, ino, name)
);

CREATE TABLE linkspan.change (
  tenant    integer NOT NULL,
  volume    integer NOT NULL,
  seq       bigint NOT NULL,
  ino       bigint NOT NULL,
  version   bigint NOT NULL,
  history   bigint,                      -- changes that made a version
  fork      bigint,                      -- and of those that left a copy of the history behind, up
                                         -- to the version before: its key
  dir       bigint NOT NULL,             -- the directory that holds `path`; 0: none
  old_dir   bigint,                      -- renames: the one that held `old_path`
  session   bigint NOT NULL,
  at        bigint NOT NULL,
  size      bigint NOT NULL,
  bytes     bigint NOT NULL,             -- what it added to the volume's usage
  files     bigint NOT NULL,
  what      text NOT NULL,
  principal text NOT NULL,
  sandbox   text NOT NULL,
  path      bytea NOT NULL,
  old_path  bytea,
  PRIMARY KEY (tenant, seq)
);
CREATE INDEX change_node ON linkspan.change (tenant, ino, seq);
CREATE INDEX change_dir ON linkspan.change (tenant, dir, seq);
CREATE INDEX change_old_dir ON linkspan.change (tenant, old_dir, seq) WHERE old_dir IS NOT NULL;

-- Results of operations, written with them: a retry is answered from here.
CREATE TABLE linkspan.result (
  tenant  integer NOT NULL,
  session bigint NOT NULL,
  op      bigint NOT NULL,
  reply   bytea NOT NULL,                -- reply_codec.h
  PRIMARY KEY (tenant, session, op)
);

CREATE TABLE linkspan.session (
  id        bigint PRIMARY KEY,
  tenant    integer NOT NULL,
  attached  bigint NOT NULL,
  token     bytea NOT NULL,
  secret    bytea NOT NULL,
  principal text NOT NULL,
  sandbox   text NOT NULL
);
CREATE INDEX session_tenant ON linkspan.session (tenant, attached);

CREATE TABLE linkspan.token (
  hash      bytea PRIMARY KEY,           -- SHA-256 of the token; the token itself is nowhere
  tenant    integer NOT NULL REFERENCES linkspan.tenant,
  principal text NOT NULL,
  sandbox   text NOT NULL,
  expires   bigint NOT NULL,             -- 0: never
  revoked   boolean NOT NULL
);
CREATE TABLE linkspan.token_route (
  hash       bytea NOT NULL REFERENCES linkspan.token ON DELETE CASCADE,
  place      integer NOT NULL,
  path       bytea NOT NULL,
  volume     text NOT NULL,
  writable   boolean NOT NULL,
  policy     smallint NOT NULL,          -- linkspan::Policy
  timeout_ms bigint NOT NULL,
  PRIMARY KEY (hash, place)
);
