#include "fusefs/cli/router_choice.h"

#include <cstdlib>

#include "fusefs/cli/preflight.h"

namespace linkspan::cli {

Result<ResolvedRouter> resolve_router(RouterOptions& options) {
  // First: the embedded default's servers are programs that get our environment.
  const TokenVariables variables = take_token_variables(options.token);
  ResolvedRouter resolved;
  resolved.address = options.address;
  const bool own_token = !options.token.file.empty() || options.token.fd >= 0;
  if (options.local) {
    LINKSPAN_TRY(auto local, LocalStack::join(options.state_dir));
    resolved.address = local.router();
    if (!own_token)
      options.token.file =
          options.publisher ? local.layout().publisher_token() : local.layout().agent_token();
    resolved.local = std::move(local);
  } else if (resolved.address.empty()) {
    if (const char* address = ::getenv("LINKSPAN_ROUTER")) resolved.address = address;
  }
  LINKSPAN_CHECK(check_router_address(resolved.address));
  LINKSPAN_TRY(resolved.token, read_token(options.token, variables));
  return resolved;
}

}  // namespace linkspan::cli
