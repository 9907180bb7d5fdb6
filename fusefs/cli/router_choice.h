// Which router, with which token.
#pragma once

#include <optional>
#include <string>

#include "fusefs/cli/commands.h"
#include "fusefs/cli/local_stack.h"

namespace linkspan::cli {

struct ResolvedRouter {
  std::string address, token;
  std::optional<LocalStack> local;
};
// Router address and token from flags and environment; joins the embedded default if asked to. From
// a process's only thread.
Result<ResolvedRouter> resolve_router(RouterOptions& options);

}  // namespace linkspan::cli
