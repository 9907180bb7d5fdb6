// A program that keeps a copy of what it changes moves the old file to NAME~, NAME.bak and the
// like, before or after it wrote the new one: vim, Emacs, sed -i.bak, JetBrains' editors.
#pragma once

#include "linkspan/ops.h"

namespace linkspan {

inline bool makes_backup(const RenameRequest& request) {
  return !request.exchange && request.from_parent == request.to_parent &&
         request.to_name != request.from_name && request.to_name.starts_with(request.from_name);
}

}  // namespace linkspan
