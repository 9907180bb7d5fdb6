#include "routerd/store/pg/pg_store.h"

#include "routerd/store/pg/migrate.h"
#include "routerd/store/pg/postgres_store.h"
#include "routerd/store/pg/statements_tenancy.h"
#include "routerd/store/pg/transaction.h"

namespace linkspan::store {

Result<std::unique_ptr<Store>> make_pg_store(const StoreOptions& options) {
  return make_pg_store(options, pg::Limits{});
}

Result<std::unique_ptr<Store>> make_pg_store(const StoreOptions& options,
                                             const pg::Limits& limits) {
  auto store = std::make_unique<pg::PostgresStore>(options.url, options.connections, limits);
  LINKSPAN_CHECK(store->prepare());
  return std::unique_ptr<Store>(std::move(store));
}

namespace pg {

Status PostgresStore::prepare() {
  Failure why;
  LINKSPAN_TRY(Pool::Lease lease, pool_.checkout(&why));
  const Status migrated = migrate(*lease, pool_.limits());
  if (migrated.ok()) return migrated;
  Error error = migrated.error();
  error.message = "cannot set up the database " + describe(pool_.conninfo()) + ": " + error.message;
  if (lease->failure().sqlstate == "42501") {
    error.code = Code::access_denied;
    error.message += "; let this user create a schema: GRANT CREATE ON DATABASE ... TO ...";
  }
  return error;
}

Status PostgresStore::ping() {
  const std::function<Result<Rows>(Connection&)> use = [](Connection& conn) {
    return conn.run(sql::kPing);
  };
  const auto answered = with_connection<Rows>(pool_, use);
  if (!answered.ok()) return answered.error();
  return ok();
}

}  // namespace pg
}  // namespace linkspan::store
