// Which sandbox this is: a secret of its own, to which the router binds tokens that say so.
#pragma once

#include <string>

#include "linkspan/error.h"

namespace linkspan::cli {

// limits::kInstanceBytes random bytes that are kept in the state directory (`override`: of
// --state-dir), made when they are first asked for. The error says what keeps them from being kept.
Result<std::string> instance_secret(const std::string& override);

}  // namespace linkspan::cli
