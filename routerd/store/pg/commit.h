// What commit.cc shares with the other operations that change content.
#pragma once

#include <string>

#include "routerd/store/pg/transaction.h"

namespace linkspan::store::pg {

// The node's content is new (dver, floor, size, allocated): numbers it, and adds it to its history.
void make_version(Transaction& tx, NodeRow& node, const char* what);

// Cuts, or grows with zeros, and makes a version. `heads`: of the chunk of `size`, if it cuts.
Status truncate(Transaction& tx, NodeRow& node, const Rows& heads, uint64_t size);

// What a commit of extents makes of a node that this transaction locked or made, and
// whose row is there. Makes no version.
Status write_over(Transaction& tx, NodeRow& node, const CommitRequest& request);

// The content is what the author wrote; what that was merged to comes next.
void make_unmerged(Transaction& tx, NodeRow& node);

// Other content in place of all of it; makes no version.
Status replace_content(Transaction& tx, NodeRow& node, const std::string& content);

}  // namespace linkspan::store::pg
