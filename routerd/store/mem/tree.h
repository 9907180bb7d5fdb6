// What the memory store holds of one tenant: nodes, names, histories, the log. Plain data with the
// few invariants that every operation needs; not thread-safe (MemStore's mutex is held).
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "routerd/store/mem/content.h"
#include "routerd/store/store.h"

namespace linkspan::store::mem {

struct Record {  // one version of a file
  VersionInfo info;
  std::shared_ptr<const Content> content;
  Time replaced;  // when the next one came; not looked at in the head
};

struct Entry {
  Ino ino;
  Cookie cookie;
};

struct MemNode {
  Attr attr;
  VolumeId volume;
  std::string target;  // symlinks
  std::map<std::string, std::string> xattrs;
  std::vector<Record> history;  // files: ascending, never empty, the head last
  Seq line;  // files: of the change that began the history; who replaces a file goes on with its
  std::optional<SessionId> replaced_by;            // whose rename took the last name
  std::map<std::string, Entry> entries;            // directories
  std::map<Cookie, std::string> order;             // directories: entries by cookie
  Cookie last_cookie;                              // directories: the highest that was ever used
  std::vector<std::pair<Ino, std::string>> names;  // (parent, name), the oldest first

  bool is_directory() const { return attr.kind == Kind::directory; }
  bool is_file() const { return attr.kind == Kind::file; }
  const Content& head() const { return *history.back().content; }
  // What this node counts in its volume's usage: stored bytes of the head while it has a name.
  int64_t live_bytes() const { return attr.nlink > 0 ? static_cast<int64_t>(attr.allocated) : 0; }
};

struct LoggedChange {
  Change change;
  VolumeId volume;
  Ino parent, old_parent;  // the directories that hold `path` and `old_path`
};

struct MemConflict {
  Conflict conflict;
  VolumeId volume;
  Ino dir;  // that holds its path
  OpNumber operation;
  std::optional<Time> settled;
};

struct MemVolume {
  Volume volume;
  uint32_t keep_versions = 0;
  uint32_t keep_days = 0;
};

struct Tenant {
  TenantId id;
  std::string label;
  Epoch epoch;
  Seq last_seq;
  std::chrono::milliseconds lease{};  // TenantState::earlier_lease of the next owner
  Ino next_ino{16};
  std::map<VolumeId, MemVolume> volumes;
  std::unordered_map<Ino, MemNode> nodes;
  std::deque<LoggedChange> log;          // ascending seq
  std::map<Seq, MemConflict> conflicts;  // until the bytes are pruned
  // Results of mutations, for retries: by session, then operation number.
  std::map<SessionId, std::map<OpNumber, MutationReply>> results;

  // `stale_node`: no such node, or not one that the scope may see.
  Result<MemNode*> find(const Scope& scope, Ino ino);
  // And `not_directory`.
  Result<MemNode*> find_directory(const Scope& scope, Ino ino);
  MemNode& at(Ino ino) { return nodes.at(ino); }
  // The node that goes on with the history of one that was replaced. Null: there is none.
  MemNode* successor(const MemNode& node);
  // Null: no such name.
  MemNode* child(MemNode& dir, const std::string& name);
  // From the volume's root, by the node's oldest name; empty for a root or a node without a name.
  std::string path_of(const MemNode& node) const;
  std::string path_of(const MemNode& dir, const std::string& name) const;
  // `dir` is `node` itself or lies somewhere below it.
  bool is_within(const MemNode& dir, const MemNode& node) const;

  // Names, without attributes: the caller sets link counts and times.
  void add_name(MemNode& dir, const std::string& name, MemNode& node);
  void remove_name(MemNode& dir, const std::string& name, MemNode& node);
  // The entry keeps its place in the directory.
  void replace_name(MemNode& dir, const std::string& name, MemNode& old_node, MemNode& node);
};

// May the scope change this node's volume? `read_only`.
Status check_writable(const Scope& scope, const MemNode& node);

// `is_directory`, `invalid`: not a plain file.
Status check_has_content(const MemNode& node);
// 0: the head. `not_found`: no such version (any more).
Result<const Record*> find_version(const MemNode& node, Version version);

// As a reply carries it; with content if it is a small file and that is wanted.
Node to_node(const MemNode& node, bool want_content = false);

}  // namespace linkspan::store::mem
