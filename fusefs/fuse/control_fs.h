// The top connection: DIR itself, with an empty directory for each route and the workspace (they
// are mounted over), and .linkspan/ with the control files. Read-only; asks nobody: it answers when
// the router does not.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fusefs/fuse/session_context.h"

namespace linkspan::fuse {

// What the top shows. Built once, before the connection. Paths are relative, without leading slash;
// the directories above are made. A path given twice is the later one's.
class ControlTree {
 public:
  // Called at every stat and open of the file, on any thread and several at once; must return
  // within milliseconds, so from memory or with a short deadline. An exception shows as EIO.
  using Content = std::function<std::string()>;

  ControlTree();
  // `writable_mode`: the owner may write by its mode (0755, else 0555), which fusermount3 asks of a
  // mountpoint. Nothing can be made in it either way.
  void add_directory(const std::string& path, bool writable_mode = false);
  void add_file(const std::string& path, Content content);
  void add_symlink(const std::string& path, const std::string& target);

 private:
  friend class ControlOperations;
  enum class Type : uint8_t { directory, file, symlink };
  struct Node {
    Type type = Type::directory;
    bool writable_mode = false;
    size_t parent = 0;  // index in nodes_
    Content content;
    std::string target;
    std::map<std::string, size_t> children;  // ordered: readdir's offsets
  };
  size_t make(const std::string& path);

  std::vector<Node> nodes_;  // [0] is the root; index + 1 is the inode number
};

struct ControlOptions {
  uint32_t uid = 0, gid = 0;  // of every node
};

std::unique_ptr<Operations> make_control_operations(ControlTree tree, ControlOptions options);

}  // namespace linkspan::fuse
