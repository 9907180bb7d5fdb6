// The top connection: DIR itself, with an empty directory for each route and the workspace (they
// are mounted over), and .linkspan/ with the control files. Nothing can be changed in it. Its files
// are told from memory, or ask the router for a moment and say what is known when it does not
// answer; what is nothing without the router (queries and live folders) gets so many of the
// connection's threads and no more (kSlowRequests).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fusefs/fuse/session_context.h"
#include "fusefs/vfs/vfs.h"

namespace linkspan::fuse {

inline constexpr size_t kQueryBytes = 64 << 10;  // of one request
inline constexpr int kQueryHandles = 64;         // open at once; then EBUSY
inline constexpr int kSlowRequests = 32;         // that may wait for the router; then EBUSY

// One directory with a folder for each of something that comes and goes, known by its number, and a
// few files in each. Called on any thread, several at once; each call ends by a deadline of its own
// or when caller.cancel says so. Nothing of it is cached.
class LiveFolders {
 public:
  static constexpr uint64_t kNumbers = 1ull << 44;  // numbers are below it, and above 0
  static constexpr size_t kFiles = 7;               // in one folder, at most

  struct Folder {
    uint64_t number = 0;
    std::string name;  // at most limits::kNameBytes
    Time changed;
  };
  struct File {
    std::string name;
    size_t slot = 1;  // 1..kFiles, always the same one for the same file
    uint64_t size = 0;
    Time changed;
    bool owner_only = false;
    // Part of it; short only at its end. Outlives the folder.
    std::function<Result<std::string>(const vfs::Caller&, uint64_t offset, size_t size)> read;
  };
  virtual ~LiveFolders() = default;
  // Those with numbers above `after`, ascending; empty: there are no more.
  virtual Result<std::vector<Folder>> list(const vfs::Caller& caller, uint64_t after,
                                           size_t limit) = 0;
  virtual Result<Folder> find(const vfs::Caller& caller, const std::string& name) = 0;
  virtual Result<Folder> folder(const vfs::Caller& caller, uint64_t number) = 0;
  // Ascending by slot.
  virtual Result<std::vector<File>> files(const vfs::Caller& caller, uint64_t number) = 0;
};

// What the top shows. Built once, before the connection. Paths are relative, without leading slash;
// the directories above are made. A path given twice is the later one's.
class ControlTree {
 public:
  // Called at every stat and open of the file, on any thread and several at once; must return
  // within milliseconds, so from memory or with a short deadline. An exception shows as EIO.
  using Content = std::function<std::string()>;
  // Answers a request; on any thread and several at once. Ends by a deadline of its own or when
  // caller.cancel says so. It must expect anything in the request.
  using Query = std::function<std::string(const vfs::Caller& caller, const std::string& request)>;

  ControlTree();
  // `writable_mode`: the owner may write by its mode (0755, else 0555), which fusermount3 asks of a
  // mountpoint. Nothing can be made in it either way.
  void add_directory(const std::string& path, bool writable_mode = false);
  void add_file(const std::string& path, Content content);
  void add_symlink(const std::string& path, const std::string& target);
  // Opened for reading and writing, one write is a request, and the reads that follow it, from
  // where the write ended, are its answer. Opened for reading, it says `help`.
  void add_query(const std::string& path, Query query, Content help);
  // At most one.
  void add_live(const std::string& path, std::shared_ptr<LiveFolders> folders);

 private:
  friend class ControlOperations;
  enum class Type : uint8_t { directory, file, symlink, query, live };
  struct Node {
    Type type = Type::directory;
    bool writable_mode = false;
    size_t parent = 0;  // index in nodes_
    Content content;
    Query query;
    std::shared_ptr<LiveFolders> live;
    std::string target;
    std::map<std::string, size_t> children;  // ordered: readdir's offsets
  };
  size_t make(const std::string& path);

  std::vector<Node> nodes_;  // [0] is the root; index + 1 is the inode number
  size_t live_ = 0;          // the live directory's index; 0: none
};

struct ControlOptions {
  uint32_t uid = 0, gid = 0;  // of every node
};

std::unique_ptr<Operations> make_control_operations(ControlTree tree, ControlOptions options);

}  // namespace linkspan::fuse
