// The durable store: store.h on PostgreSQL 15 or newer. The only folder that knows libpq.
#pragma once

#include <memory>

#include "routerd/store/pg/failure.h"
#include "routerd/store/store.h"

namespace linkspan::store {

// Connects, checks the server and brings its schema up to date; blocks for that. `options.url`: a
// postgres:// URL or a libpq conninfo. Errors name the server (never the password) and the mend:
// `invalid` (not an address), `unavailable`, `timed_out`, `unsupported` (the server is older than
// 15; the schema is of a newer program), `access_denied`.
Result<std::unique_ptr<Store>> make_pg_store(const StoreOptions& options);
// With other bounds than the usual: for tests.
Result<std::unique_ptr<Store>> make_pg_store(const StoreOptions& options, const pg::Limits& limits);

}  // namespace linkspan::store
