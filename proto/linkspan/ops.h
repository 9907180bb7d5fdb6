// The operations: what is asked and what is answered, the same on both sides of the wire. The mount
// says them to a RouterClient (fusefs/client), the router's core says them to a Store
// (routerd/store). Errors are named at each; `invalid`, `name_too_long`, `stale_node`,
// `not_directory` (a parent that is none) and the transport's own may come from any.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "linkspan/error.h"
#include "linkspan/types.h"

namespace linkspan {

// ---- reads -------------------------------------------------------------------------------------
//
// `as_of`: every change up to it is in the reply. What a revocation with a later seq names must not
// be cached from it; with as_of 0 nothing of the reply may be cached. And a reply that shows a node
// with attr.seq s proves that the node changed at s, also if it must not be cached itself: what is
// cached of that node with as_of < s is old.

struct LookupRequest {
  Ino parent;
  std::string name;  // never "." or ".."
  bool want_content = false;
};
// No node: there is no such name (a fact that may be cached like any other).
struct LookupReply {
  std::optional<Node> node;
  Seq as_of;
};

struct GetAttrRequest {
  Ino ino;
  bool want_content = false;
};
// Works for a node that lost its last name (nlink 0) as long as the store keeps it.
struct NodeReply {
  Node node;
  Seq as_of;
};

struct ReadDirRequest {
  Ino dir;
  Cookie after;  // 0: from the beginning
  uint32_t limit = 1024;
  bool want_content = false;
};
struct DirEntry {
  std::string name;
  Cookie cookie;  // ascending, never reused in its directory; survives changes around it
  Node node;
  bool operator==(const DirEntry&) const = default;
};
// "." and ".." are not in it; `dir` is the directory itself.
struct ReadDirReply {
  std::vector<DirEntry> entries;
  bool end = false;
  Node dir;
  Seq as_of;
};

struct ReadRequest {
  Ino ino;
  Version version;  // 0: the head
  uint64_t offset = 0;
  uint32_t length = 0;  // <= limits::kReadBytes
};
// Short only at the end of file; holes read as zeros. `is_directory`, `not_found` (no such
// version).
struct ReadReply {
  std::string data;
  Version version;
  uint64_t size = 0;  // of that version
  Seq as_of;
};

// For SEEK_DATA and SEEK_HOLE. `is_directory`, `not_found` (no such version).
struct DataRangesRequest {
  Ino ino;
  Version version;      // 0: the head
  uint64_t offset = 0;  // what lies before it is not told
};
struct DataRange {  // bytes [begin, end)
  uint64_t begin = 0, end = 0;
  bool operator==(const DataRange&) const = default;
};
// Of [offset, until) everything: what is in no range is a hole. Exact to the chunk: the data of a
// chunk (kChunkBytes) ends behind its last stored byte, and zeros before that one count as data.
// Ranges ascend and do not touch; at most kDataRanges.
struct DataRangesReply {
  std::vector<DataRange> ranges;
  uint64_t until = 0;  // `size`, unless there are too many ranges; then above offset
  uint64_t size = 0;   // of that version
  Version version;
};

struct Xattr {
  std::string name;
  std::string value;
  bool operator==(const Xattr&) const = default;
};
struct XattrsReply {
  std::vector<Xattr> xattrs;  // sorted by name
  Seq as_of;
};

struct StatFsReply {
  uint64_t total_bytes = 0, used_bytes = 0, total_files = 0, used_files = 0;
};

// ---- mutations ---------------------------------------------------------------------------------

struct OpHeader {
  OpNumber number;
  OpNumber answered_below;
  bool retry = false;
};

// A new node under (parent, name). In a directory with the set-gid bit the node takes its group,
// and a new directory the bit too. `exists`, unless `exclusive` is false and both are plain files:
// then the existing node is answered with created = false.
struct CreateRequest {
  OpHeader op;
  Ino parent;
  std::string name;
  Kind kind = Kind::file;
  uint32_t mode = 0;
  uint32_t uid = 0, gid = 0;
  std::string target;  // symlinks
  bool exclusive = true;
};

// unlink(2) (directory = false: `is_directory` for a directory) or rmdir(2) (`not_directory`,
// `not_empty`). `not_found`.
struct RemoveRequest {
  OpHeader op;
  Ino parent;
  std::string name;
  bool directory = false;
};

// rename(2) and renameat2(2). Two names of the same node: nothing happens, success. Replacing
// continues the target's history. The new version's number is above the target's last and the moved
// file's own: no number of a node is ever used twice, so numbers in a history ascend with gaps.
// With `base`, a target that is not (base_ino, base_version) any more is a `conflict`.
// `not_found`, `exists` (no_replace), `not_empty`, `is_directory`, `not_directory`, `loop`,
// `cross_volume`, `too_many_links`.
struct RenameRequest {
  OpHeader op;
  Ino from_parent;
  std::string from_name;
  Ino to_parent;
  std::string to_name;
  bool no_replace = false;
  bool exchange = false;
  Ino base_ino;
  Version base_version;
};

// link(2). `exists`, `not_permitted` (a directory), `too_many_links`, `cross_volume`,
// `not_found` (the node has no name any more).
struct LinkRequest {
  OpHeader op;
  Ino ino;
  Ino parent;
  std::string name;
};

// chmod, chown, utimensat, truncate. A change of size is a new version of the content.
// `relaxed`: an access time after a read; changes neither ctime nor seq, logs and revokes nothing.
struct SetAttrRequest {
  OpHeader op;
  Ino ino;
  std::optional<uint32_t> mode, uid, gid;
  std::optional<uint64_t> size;
  std::optional<Time> atime, mtime;
  bool atime_now = false, mtime_now = false;
  bool relaxed = false;
};

// Bytes [offset, offset + length). data.size() == length, or data is empty: a hole of zeros.
struct Extent {
  uint64_t offset = 0;
  uint64_t length = 0;
  std::string data;
};

// Where a commit's extents come from, so that neither side holds a large file in memory: ascending,
// not overlapping, data at most limits::kExtentBytes each. rewind() starts again (for a retry).
class ExtentSource {
 public:
  virtual ~ExtentSource() = default;
  virtual Result<bool> next(Extent* out) = 0;  // false: no more
  virtual void rewind() = 0;
};

// Extents in memory.
class ExtentList final : public ExtentSource {
 public:
  explicit ExtentList(std::vector<Extent> extents = {}) : extents_(std::move(extents)) {}
  Result<bool> next(Extent* out) override {
    if (at_ == extents_.size()) return false;
    *out = extents_[at_++];
    return true;
  }
  void rewind() override { at_ = 0; }

 private:
  std::vector<Extent> extents_;
  size_t at_ = 0;
};

// New content, all of it or nothing: the old content's bytes below keep_below, the rest as zeros up
// to `size`, and the extents on top. A rewrite after O_TRUNC has keep_below = 0; a plain overwrite
// UINT64_MAX. With `append` the extents' offsets are relative to the end of file, which the store
// knows and answers in MutationReply::offset; keep_below and size are then not looked at.
// The result's size is max(size, min(old size, keep_below)): a commit that truncated nothing
// (keep_below UINT64_MAX) never cuts off what another appended meanwhile.
// With `base`: `conflict` (head_version set) if the head is another version, or if it is a version
// of another file (`base_ino`), which had the name when it was read. `too_large`, `is_directory`,
// `invalid` (not a plain file).
struct CommitRequest {
  OpHeader op;
  Ino ino;
  std::optional<Version> base;
  Ino base_ino;  // which file's version `base` is; 0: this one's
  uint64_t keep_below = UINT64_MAX;
  uint64_t size = 0;
  bool append = false;
  Time mtime;               // of the last write, by the mount's clock
  bool keep_mtime = false;  // utimensat came after the last write: do not touch it
  // A file that this session's own rename has replaced takes the commit by itself, as on a local
  // disk. With this it goes to the file that took its place, too, as where another session's rename
  // did: for writers that had no part in the rename.
  bool follow = false;
  std::shared_ptr<ExtentSource> extents;
};

// setxattr(2), removexattr(2) (no value). `exists` (create), `no_attribute` (replace, remove),
// `attribute_too_big`, `no_space`.
struct SetXattrRequest {
  OpHeader op;
  Ino ino;
  std::string name;
  std::optional<std::string> value;
  bool create = false;
  bool replace = false;
};

// The result of any mutation. `nodes` holds the new attributes of every node it touched, the one
// the call was about first: create: child, parent; remove: removed node (nlink may be 0), parent;
// rename: moved, from_parent, to_parent (if another), then the replaced or exchanged one; link:
// node, parent; the others: the node.
//
// The caller is not sent a revocation for its own change. To its caches the reply is one: what
// `nodes` and the request's names say goes if it was learned with as_of < seq, and later replies
// with as_of < seq are not cached either (they may lack this change). `nodes` may be cached by the
// rule for as_of, as with reads; as_of is seq itself, unless others changed the same nodes at the
// same time. (Set by the core; the store leaves it 0.)
struct MutationReply {
  Seq seq;
  Seq as_of;
  std::vector<Node> nodes;
  uint64_t offset = 0;  // append: where the bytes went
  bool merged = false;  // the content is a merge of the caller's and another's
  // commit, replacing rename: the version just before that, which is what the caller wrote,
  // unmerged (nobody ever saw it as the head): what its next one is based on, if it reads nothing.
  // 0: none.
  Version unmerged;
  bool created = true;  // create: false if it was there
  Version version;      // commit, truncate, replacing rename: the version made
  bool operator==(const MutationReply&) const = default;
};

// ---- history -----------------------------------------------------------------------------------

struct Change {
  Seq seq;
  std::string what;  // "create", "mkdir", "symlink", "mknod", "write", "append", "truncate",
                     // "rename", "unlink", "rmdir", "link", "setattr", "setxattr",
                     // "conflict" (a refused write was kept), "resolve"
  Ino ino;
  Version version;
  std::string volume;
  std::string path, old_path;  // within the volume
  std::string principal, sandbox;
  SessionId session;
  Time at;
  uint64_t size = 0;
  bool operator==(const Change&) const = default;
};
// Every field that is set narrows what is told.
struct ChangesRequest {
  Seq after;             // only newer ones
  uint32_t limit = 100;  // <= limits::kHistoryPage
  bool newest = false;   // the last `limit` instead of the first
  Ino under;             // 0, or only changes to this node (directories: to their entries)
  Seq before;            // 0, or only older ones
  Ino volume_of;         // 0, or only changes of the volume that holds this node (a route's root)
  std::string below;     // empty, or only those whose path or old path is this or lies below it
  std::string principal, sandbox;  // empty, or only theirs
  std::string what;                // empty, or only these
  Time since;                      // ns == 0, or only changes of this moment or later
};
// One call looks at a bounded number of log entries (limits::kChangesScanned), so a page may be
// short, or empty, though there is more.
struct ChangesReply {
  std::vector<Change> changes;  // ascending seq
  Seq as_of;
  // Where to go on, as the next request's `after` (with `newest`: its `before`); 0: all was told.
  Seq next;
};
struct VersionInfo {
  Version version;
  uint64_t size = 0;
  std::string principal, sandbox;
  SessionId session;
  Time at;
  std::string what;
  Ino ino;
  bool operator==(const VersionInfo&) const = default;
};
struct VersionsRequest {
  Ino ino;
  Version before;  // 0: from the newest
  uint32_t limit = 100;
};

// ---- conflicts ---------------------------------------------------------------------------------
//
// A commit or replacing rename whose base was not the head any more, and that the policy would not
// or could not merge, was refused with Code::conflict. Its content, whole, is kept as version 1 of
// a node of its own that has no name (`theirs`): it is read like any other. It stays until it is
// settled, and then like a file that has just lost its last name. Each is told of once, however
// often the call was retried.

struct Conflict {
  Seq number;        // of the change that kept it: its name for people
  std::string what;  // "write" or "rename"
  std::string volume;
  std::string path;    // of the file it was meant for, within the volume, at that time
  Ino ino;             // that file
  Ino base_ino;        // the node whose content the writer had read (a rename: may be another)
  Version base, head;  // what the writer had read (0: nothing), and what the head was instead
  Ino theirs;
  uint64_t size = 0;  // of what was refused
  std::string principal, sandbox;
  SessionId session;
  Time at;
  bool operator==(const Conflict&) const = default;
};
struct ConflictsRequest {
  Seq after;             // only newer ones
  uint32_t limit = 100;  // <= limits::kHistoryPage
};
// Those that nobody settled, of the volumes that the caller may read; ascending.
struct ConflictsReply {
  std::vector<Conflict> conflicts;
};
// Takes a conflict off the list; its bytes stay until they are pruned. `not_found`: there is no
// such one, or it was settled. The reply names no node.
struct SettleRequest {
  OpHeader op;
  Seq number;
};

// ---- revocation --------------------------------------------------------------------------------

struct RevokedNode {
  Ino ino;
  bool content = false;
  bool listing = false;
  bool operator==(const RevokedNode&) const = default;
};
struct RevokedName {
  Ino parent;
  std::string name;
  bool operator==(const RevokedName&) const = default;
};
struct Revocation {
  uint64_t number = 0;
  Seq seq;
  std::vector<RevokedNode> nodes;
  std::vector<RevokedName> names;
  bool everything = false;
};

}  // namespace linkspan
