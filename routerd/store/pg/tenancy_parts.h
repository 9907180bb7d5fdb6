// What tenants, sessions and tokens share: hashes as bytes, transactions without a mutation.
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "routerd/store/pg/pool.h"
#include "routerd/store/pg/statements.h"
#include "routerd/store/pg/transaction.h"
#include "routerd/store/pg/values.h"

namespace linkspan::store::pg {

inline Error no_tenant(const std::string& name) {
  return fail(Code::not_found, "there is no tenant '" + name + "'");
}

// The answer of sql::kEpoch.
inline Status check_epoch(const Rows& rows, TenantId tenant, Epoch epoch) {
  if (rows.empty()) return no_tenant(std::to_string(tenant.value));
  if (rows.u64(0, 0) == epoch.value) return ok();
  return fail(Code::fenced, "tenant '" + rows.text(0, 1) + "' is owned by another router now");
}

template <size_t N>
std::string_view view(const std::array<uint8_t, N>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <size_t N>
std::array<uint8_t, N> array_of(std::string_view bytes) {
  std::array<uint8_t, N> out{};
  std::copy_n(bytes.begin(), std::min(bytes.size(), N), out.begin());
  return out;
}

// One transaction of its own, repeated where that is right.
template <class T>
Result<T> transact(Pool& pool, const std::function<Result<T>(Connection&)>& body) {
  const std::function<Result<T>(Connection&)> use = [&](Connection& conn) -> Result<T> {
    conn.queue(sql::kBegin);
    LINKSPAN_TRY(T made, body(conn));
    conn.queue(sql::kCommit);
    LINKSPAN_CHECK(conn.sync());
    return made;
  };
  return with_connection<T>(pool, use);
}

inline Result<Rows> query(Pool& pool, const Statement& statement,
                          const std::function<Params()>& params) {
  const std::function<Result<Rows>(Connection&)> use = [&](Connection& conn) {
    return conn.run(statement, params());
  };
  return with_connection<Rows>(pool, use);
}

}  // namespace linkspan::store::pg
