#include "local_router.h"

#include "linkspan/clock.h"
#include "routerd/core/grant.h"

namespace linkspan::test {
namespace {

Route route(const std::string& name, bool writable, Policy policy) {
  Route r;
  r.path = r.volume = name;
  if (writable) r.rights = Access::read_write;
  r.policy = policy;
  return r;
}

void add_token(store::Store& store, const char* text, const char* principal, bool publishes) {
  store::TokenRecord token;
  token.hash = store::hash_token(text);
  token.tenant = "acme";
  token.principal = principal;
  token.routes = {
      route("memory", true, Policy::merge), route("scratch", true, Policy::last_writer_wins),
      route("strict", true, Policy::reject), route("skills", publishes, Policy::reject)};
  (void)store.put_token(token);
}

}  // namespace

LocalRouter::LocalRouter(std::chrono::milliseconds lease) : lease_(lease) {
  memory_ = store::make_mem_store();
  auto store = std::make_unique<core::testing::ForwardStore>(memory_.get());
  store_ = store.get();
  store::TenantSpec tenant{"acme", {{"memory"}, {"scratch"}, {"strict"}, {"skills"}}};
  if (auto made = store->provision(tenant, Clock::system().now()); !made.ok())
    throw std::runtime_error(made.error().message);
  add_token(*store, kAgent, "agent", false);
  add_token(*store, kPublisher, "publisher", true);
  core::RouterOptions options;
  options.lease = lease;
  options.name = "local";
  router_ = core::make_router(std::move(store), options);
}

}  // namespace linkspan::test
