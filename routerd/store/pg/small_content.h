// The content that travels with a node.
#pragma once

#include <optional>
#include <string>

#include "routerd/store/pg/node_row.h"

namespace linkspan::store::pg {

// From rows [first, end), each with start, len, data from `column` on (start null: a hole). Nothing
// for what is no file, or not a small one.
std::optional<std::string> small_content(const NodeRow& node, const Rows& rows, int first, int end,
                                         int column);

}  // namespace linkspan::store::pg
