// A row of `node`: what a reply shows of it and what only the store knows. And the checks that
// every operation makes on it.
#pragma once

#include <string>

#include "routerd/store/pg/statements.h"
#include "routerd/store/pg/values.h"
#include "routerd/store/store.h"

namespace linkspan::store::pg {

struct NodeRow {
  Attr attr;
  VolumeId volume;
  std::string target;
  bool owns_history = true;
  uint64_t history = 0;  // seq that began it; 0: none
  uint64_t dver = 0;
  uint64_t floor = 0;
  Cookie last_cookie;

  bool is_directory() const { return attr.kind == Kind::directory; }
  bool is_file() const { return attr.kind == Kind::file; }
  // What it counts in its volume's usage.
  int64_t live_bytes() const { return attr.nlink > 0 ? static_cast<int64_t>(attr.allocated) : 0; }
  int64_t live_files() const { return attr.nlink > 0 ? 1 : 0; }
  Node to_node() const { return Node{attr, target, std::nullopt}; }

  // A change to the node itself: ctime, seq.
  void touch(const Mutation& m);
  // A change to a directory's entries or a file's content: mtime too.
  void modify(const Mutation& m);
};

// The node whose columns (LS_NODE) begin at `column`.
NodeRow node_at(const Rows& rows, int row, int column = 0);
// The row with this number, or null.
const NodeRow* find(const std::vector<NodeRow>& nodes, Ino ino);
NodeRow* find(std::vector<NodeRow>& nodes, Ino ino);
std::vector<NodeRow> nodes_of(const Rows& rows);

Params add_node(TenantId tenant, const NodeRow& node);  // of sql::kAddNode
Params set_node(TenantId tenant, const NodeRow& node);  // of sql::kSetNode

bool visible(const Scope& scope, VolumeId volume);
Error no_node(Ino ino);                                              // stale_node
Status check_visible(const Scope& scope, Ino ino, VolumeId volume);  // stale_node
Status check_writable(const Scope& scope, const NodeRow& node);      // read_only
Status check_directory(Ino ino, Kind kind);                          // not_directory
Status check_has_content(Ino ino, Kind kind);                        // is_directory, invalid
Status check_takes_entries(const NodeRow& dir);                      // not_found: it was removed
Status check_links(const NodeRow& node);                             // too_many_links

}  // namespace linkspan::store::pg
