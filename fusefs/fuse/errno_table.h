// The one table from domain errors to errno (DESIGN 5).
#pragma once

#include "linkspan/error.h"

namespace linkspan::fuse {

// A positive errno. Codes this build does not know are EIO.
int to_errno(Code code);

// Of a lock's request: what there is no room for is ENOLCK.
int to_lock_errno(Code code);

// False where a bug or a broken machine is behind the error: those are logged and counted.
bool is_expected(Code code);

}  // namespace linkspan::fuse
