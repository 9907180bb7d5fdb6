#include "routerd/store/pg/postgres_store.h"

namespace linkspan::store::pg {

Result<uint64_t> PostgresStore::prune(TenantId tenant, Time now) {
  return uint64_t{0};
}

}  // namespace linkspan::store::pg
