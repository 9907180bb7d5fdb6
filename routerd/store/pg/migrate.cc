#include "routerd/store/pg/migrate.h"

#include <string>

#include "routerd/store/pg/statements.h"

namespace linkspan::store::pg {
namespace {

constexpr Statement kSchemaExists{"schema_exists",
                                  "SELECT to_regclass('linkspan.schema_version') IS NOT NULL"};
constexpr Statement kSchemaVersion{"schema_version",
                                   "SELECT coalesce(max(version), 0) FROM linkspan.schema_version"};

Result<int> version_of(Connection& conn) {
  LINKSPAN_TRY(const Rows exists, conn.run(kSchemaExists));
  if (!exists.boolean(0, 0)) return 0;
  LINKSPAN_TRY(const Rows version, conn.run(kSchemaVersion));
  return version.i32(0, 0);
}

int newest() {
  return kMigrationCount == 0 ? 0 : kMigrations[kMigrationCount - 1].number;
}

Status check_not_newer(int version) {
  if (version <= newest()) return ok();
  return fail(Code::unsupported,
              "the database has schema version " + std::to_string(version) +
                  ", made by a newer linkspan-routerd; this one knows versions up to " +
                  std::to_string(newest()) + ": install the newer program");
}

Status apply(Connection& conn, const Migration& migration, const Limits& limits) {
  LINKSPAN_CHECK(conn.script(migration.sql, limits.migrate));
  return conn.script("INSERT INTO linkspan.schema_version (version, name) VALUES (" +
                         std::to_string(migration.number) + ", '" + migration.name + "')",
                     limits.answer);
}

Status migrate_locked(Connection& conn, const Limits& limits) {
  LINKSPAN_CHECK(
      conn.script("CREATE SCHEMA IF NOT EXISTS linkspan;"
                  "CREATE TABLE IF NOT EXISTS linkspan.schema_version ("
                  "  version integer PRIMARY KEY, name text NOT NULL,"
                  "  applied timestamptz NOT NULL DEFAULT now())",
                  limits.answer));
  LINKSPAN_TRY(const int version, version_of(conn));
  LINKSPAN_CHECK(check_not_newer(version));
  for (size_t i = 0; i < kMigrationCount; ++i)
    if (kMigrations[i].number > version) LINKSPAN_CHECK(apply(conn, kMigrations[i], limits));
  return ok();
}

}  // namespace

Status migrate(Connection& conn, const Limits& limits) {
  LINKSPAN_TRY(const int version, version_of(conn));
  if (version == newest()) return ok();
  LINKSPAN_CHECK(check_not_newer(version));
  const std::string lock =
      "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;"
      "SELECT pg_advisory_xact_lock(" +
      std::to_string(kMigrateLock) + ", 0)";
  Status done = conn.script(lock, limits.migrate);
  if (done.ok()) done = migrate_locked(conn, limits);
  if (done.ok()) done = conn.script("COMMIT", limits.answer);
  if (!done.ok()) conn.rollback();
  return done;
}

}  // namespace linkspan::store::pg
