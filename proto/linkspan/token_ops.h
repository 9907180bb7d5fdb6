// A token that may do less, made by whoever holds one: `linkspan token narrow`.
#pragma once

#include <string>
#include <vector>

#include "linkspan/types.h"

namespace linkspan {

struct NarrowRequest {
  // A path under the mountpoint: a route of the token, or below one.
  struct Reach {
    std::string path;
    Access rights = Access::none;  // none: those of the token. More than those are refused.
  };
  std::vector<Reach> reaches;    // empty: all routes of the token
  Access rights = Access::none;  // at most, in all of them; none: those of the token
  Time expires;                  // at the latest; ns == 0: with the token
  std::string sandbox;  // what follows the token's own sandbox, and '/'; empty: that one itself
};

struct NarrowReply {
  std::string token;          // secret
  std::vector<Route> routes;  // without volume_id
  std::string principal;
  std::string sandbox;  // empty: made up for each session
  Time expires;         // ns == 0: never; it ends with what it came from in any case
};

// What is asked for beside which secrets: of a token, or of a session (then `token` is empty).
struct NarrowProof {
  std::string token;     // secret
  std::string instance;  // secret; of the sandbox, empty: it has none
};

}  // namespace linkspan
