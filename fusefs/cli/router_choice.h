// Which router, with which token.
#pragma once

#include <optional>
#include <string>

#include "fusefs/cli/commands.h"
#include "fusefs/cli/local_stack.h"

namespace linkspan::cli {

struct ResolvedRouter {
  std::string address, token;
  std::string instance;  // of this sandbox; empty: it cannot keep one
  tls::Files tls;
  std::optional<LocalStack> local;
};
// Router address, token and certificates from flags and environment, each checked; joins the
// embedded default if asked to. From a process's only thread.
Result<ResolvedRouter> resolve_router(RouterOptions& options);

}  // namespace linkspan::cli
