// The contract once more, written down in the plainest way that there is: a map from whole paths to
// nodes. Slow, without numbers, cookies or directories as objects, and so wrong in other places
// than a store would be.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/model/subject.h"

namespace linkspan::test {

class PlainModel final : public Subject {
 public:
  PlainModel();
  std::string apply(const Op& op, Time now) override;
  Snapshot snapshot() override;
  std::vector<std::string> epilogue() override;

  // For who makes sequences up: what is there by now (of a kind), and in a slot.
  std::vector<std::string> paths(std::optional<Kind> kind) const;
  bool holds(uint64_t slot, std::optional<Kind> kind) const;

 private:
  struct Version {
    uint64_t number;
    std::string what;
    std::string content;
    Time replaced;  // when the next one came
    Time at;
    uint64_t content_id;  // which is shared by versions that a rename made of it
  };
  struct Node {
    Kind kind = Kind::file;
    uint32_t mode = 0, uid = 0, gid = 0;
    std::string target;
    Time atime, mtime, ctime, btime;
    std::vector<Version> versions;
    bool replaced = false;  // a file went on with its history when it took the last name
    std::map<std::string, std::string> xattrs;
    bool directory() const { return kind == Kind::directory; }
    bool file() const { return kind == Kind::file; }
    std::string& content() { return versions.back().content; }
  };
  using NodePtr = std::shared_ptr<Node>;
  struct Name {
    NodePtr node;
    uint64_t place;  // in its directory: the order of listings
  };
  struct Place {  // a path that may or may not be taken
    std::string parent, path;
    NodePtr dir;
    NodePtr node;  // null: free
  };

  std::string mutate(const Op& op);
  std::string create(const Op& op, Kind kind);
  std::string remove(const Op& op, bool directory);
  std::string rename(const Op& op);
  std::string exchange(const Op& op);
  std::string link(const Op& op);
  std::string set(const Op& op);
  std::string truncate(const Op& op);
  std::string commit(const Op& op);
  std::string xattr(const Op& op);
  std::string open(const Op& op);
  std::string prune(Time horizon);

  // Finds, or says why not in `error`.
  NodePtr find(const std::string& designator, std::string* error);
  bool find_place(const std::string& designator, Place* out, std::string* error);
  std::string path_of(const NodePtr& node) const;  // "?" if it has none
  size_t names_of(const NodePtr& node) const;
  uint32_t links_of(const NodePtr& node) const;
  bool has_entries(const std::string& path) const;
  std::vector<std::string> entries(const std::string& path) const;
  void move_tree(const std::string& from, const std::string& to);

  void touch(const NodePtr& node) { node->ctime = now_; }
  void modify(const NodePtr& node) { node->mtime = node->ctime = now_; }
  void add_version(const NodePtr& node, const std::string& what, std::string content);
  void log(const std::string& what, const NodePtr& node, const std::string& path,
           const std::string& old_path = {});
  void log(const std::string& what, const NodePtr& node);
  NodeFacts facts(const NodePtr& node) const;

  Time now_;
  uint64_t next_place_ = 1, next_content_ = 1;
  std::map<std::string, Name> names_;  // "" is the root
  std::array<NodePtr, kSlots> slots_;
  std::vector<std::pair<Time, std::string>> log_;
  bool pruned_ = false;
  std::string last_;  // outcome of the last mutation
};

}  // namespace linkspan::test
