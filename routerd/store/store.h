// The store: what the router keeps, as operation-sized transactional calls. Two implementations,
// pg/ (PostgreSQL, durable) and mem (the reference model), and one suite, tests/conformance, that
// holds both to this header and to proto/linkspan/ops.h.
//
// Threads: every method may be called from any thread at once; each blocks its caller until the
// transaction is over. A mutation that returned a value is durable. Nothing here knows of gRPC,
// sessions' caches, leases or revocations: that is routerd/core.
//
// Every mutation, in this order: checks.h (the request alone), the epoch (`fenced`, also for a
// retry), the stored result of (session, op number), the nodes in scope (`stale_node`,
// `not_directory`), `cross_volume`, `read_only`, then what ops.h says. Only results of success are
// stored, whole: a retry is answered with the very reply of the first try and Applied::replayed.
// An operation number of 0 is never stored. A mutation whose extents fail changes nothing.
//
// What ops.h leaves open, every store answers alike:
// - A file is born with version 1, empty. Directories, symlinks, fifos and sockets have version 0.
//   A truncate to the size that it has makes no version (MutationReply::version is 0), but touches
//   mtime and ctime. A symlink's mode is 0777.
// - Nothing can be created in, linked or moved into a directory that was removed: `not_found`.
// - Replacing rename: the entry keeps its cookie. An exchange keeps both cookies and both nodes'
//   histories. The moved file's list of versions becomes the target's plus one, numbered above both
//   files' last; the replaced node keeps its list. Of its own list a file that was written once
//   (its version is 2 at most: the new file of a save) leaves nothing; any other's versions (the
//   head if it is another session's) come between the two, numbered one by one, but for those that
//   the target's list holds, that were born empty, or that the same session let grow within
//   kOneWritingNs (checks.h). They count as replaced at that rename. A rename between two names of
//   one node, and a create that found the file, log nothing and change no time.
// - A file that goes on with another's history (Mutation::continues) is born with the version after
//   the other's last, and empty; the other keeps a list of its own.
// - A commit to a file whose last name a rename by another session took (or any session's, with
//   CommitRequest::follow) is refused: `conflict` with head_version 0. The core then says what is
//   to become of the node that goes on with its history (Mutation::successor).
// - A change by number (write, setattr) is logged under one of the node's names; without any, under
//   an empty path. ChangesRequest::under matches the node, and the directories that hold `path` and
//   `old_path`.
// - Attr::seq and TenantState::last_seq never go down, whatever order mutations arrive in.
// - A ReadDir page ends early rather than pass kPageBytes; entries that fit only without their
//   content come without. `end` is exact.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "linkspan/limits.h"
#include "linkspan/ops.h"
#include "routerd/store/tenancy.h"

namespace linkspan::store {

// Which nodes a call may touch at all. A node of another tenant or volume does not exist
// (stale_node); one in a volume that is not writable refuses mutations (read_only).
struct Scope {
  TenantId tenant;
  std::vector<VolumeId> readable;
  std::vector<VolumeId> writable;
};

struct Author {
  std::string principal;
  std::string sandbox;
  SessionId session;
};

// What the core decides about one mutation before the store applies it.
struct Mutation {
  Scope scope;
  Epoch epoch;  // this router's ownership; a newer one in the store: Code::fenced
  Seq seq;      // assigned by the core, ascending; gaps are allowed (a failed mutation)
  Ino new_ino;  // create only: an unused number
  Author author;
  Time now;  // ctime, and the change's time
  // A rename of a file over a file only: the moved file's content becomes this in the same
  // transaction, as the version after that of what was moved (the core merged the two).
  // `conflict`: what would be moved is another file, or at another version, or (by another name)
  // the file in whose place it would go.
  struct Merged {
    std::string content;
    Ino ino;
    Version version;
  };
  std::optional<Merged> merged;
  // A commit of what the core merged only: what the author wrote, which becomes a version of its
  // own just before (MutationReply::unmerged).
  std::optional<std::string> unmerged;
  // A commit to a file that was replaced only: and this one, in the same transaction, to its
  // successor(). Its base is that node's head, else `conflict`; the request's own is not looked at.
  // The reply is the file's, the successor the second of its nodes; the log tells of the successor.
  // The file's version is numbered apart, as each that it gets once it is replaced (forked.h).
  // `conflict` with head_version 0: another node is the successor by now, or none.
  std::optional<CommitRequest> successor;
  // What the author may do to the content of a file, by its rights and path; looked at with the
  // file locked, so that nobody's append comes between.
  struct Bounds {
    bool keeps_bytes = false;                 // what is there stays: `not_permitted`
    uint64_t max_bytes = limits::kFileBytes;  // it does not grow beyond: `too_large`; nor does a
                                              // larger one get the name of a rename or link
  };
  Bounds bounds;
  // A create of a file, or a rename of one to a free name, only: the file that its author moved
  // away from this very name, and its version then. If it is still that, with one name, in the
  // volume, the new one goes on with its history; it is what a rename's base is held against.
  struct MovedAway {
    Ino ino;
    Version version;
  };
  std::optional<MovedAway> continues;
  // Set when the call that failed has sent a COMMIT which nobody answered: the change may be there,
  // or come at any time, until recall() has said what became of it. May be null.
  bool* unanswered = nullptr;
};

// What a mutation added to or took from its volume: `allocated` bytes of the heads of nodes that
// have a name, and the number of those nodes (roots apart). Old versions and nodes without a name
// do not count, so prune() changes no usage. The core keeps the quotas.
struct UsageDelta {
  VolumeId volume;
  int64_t bytes = 0;
  int64_t files = 0;
};

struct Applied {
  MutationReply reply;
  UsageDelta usage;
  bool replayed = false;  // (session, op number) was applied before: `reply` is that result
};

// What a refused writer wrote: the content of `from` at `from_version`, below keep_below, with the
// extents on top, as CommitRequest says it. (A rename: the moved file, and no extents.)
struct KeepRequest {
  OpNumber operation;   // that was refused: a retry keeps nothing twice
  bool recall = false;  // make nothing: `not_found` if the operation left no conflict so far
  std::string what;     // "write" or "rename"
  Ino ino;              // the file that it was meant for; it may be gone
  Ino dir;              // and its name, which may be gone; 0: the store looks for one, or for the
                        // last one in the log
  std::string name;
  Ino base_ino;
  Version base, head;
  Ino from;
  Version from_version;  // 0: its head
  uint64_t keep_below = UINT64_MAX;
  uint64_t size = 0;
  std::shared_ptr<ExtentSource> extents;  // may be null
};

class Store : public Tenancy {
 public:
  // -- reads (as_of is left for the core) --------------------------------------------------------
  virtual Result<LookupReply> lookup(const Scope& scope, const LookupRequest& request) = 0;
  virtual Result<NodeReply> getattr(const Scope& scope, const GetAttrRequest& request) = 0;
  virtual Result<ReadDirReply> readdir(const Scope& scope, const ReadDirRequest& request) = 0;
  virtual Result<ReadReply> read(const Scope& scope, const ReadRequest& request) = 0;
  virtual Result<DataRangesReply> data_ranges(const Scope& scope,
                                              const DataRangesRequest& request) = 0;
  virtual Result<XattrsReply> xattrs(const Scope& scope, Ino ino) = 0;
  virtual Result<std::vector<VersionInfo>> versions(const Scope& scope,
                                                    const VersionsRequest& request) = 0;
  virtual Result<ChangesReply> changes(const Scope& scope, const ChangesRequest& request) = 0;
  virtual Result<ConflictsReply> conflicts(const Scope& scope, const ConflictsRequest& request) = 0;
  // One of the node's names, from its volume's root on; empty for a root or a node without a name.
  virtual Result<std::string> path_of(const Scope& scope, Ino ino) = 0;
  // All of them, the oldest first; beyond `limit` the others are left out.
  virtual Result<std::vector<std::string>> paths_of(const Scope& scope, Ino ino,
                                                    uint32_t limit) = 0;
  // The node that goes on with the history of a file whose last name it, or one before it, took by
  // a rename. 0: there is none (any more), or nobody replaced the file.
  virtual Result<Ino> successor(const Scope& scope, Ino ino) = 0;
  // Is a result of the author's operation stored? Then a retry is answered with that.
  virtual Result<bool> is_applied(const Mutation& m, OpNumber number) = 0;
  // What became of the author's operation, of which a call ended without saying so
  // (Mutation::unanswered): its stored result, or nothing. Then what that call may have left under
  // way will never be applied; the operation itself can be tried anew. Where a transaction is about
  // to decide it, it waits for that shortly: `timed_out`, ask again. Mutation::seq: of the call
  // that ended.
  virtual Result<std::optional<MutationReply>> recall(const Mutation& m, OpNumber number) = 0;

  // -- mutations ---------------------------------------------------------------------------------
  virtual Result<Applied> create(const Mutation& m, const CreateRequest& request) = 0;
  virtual Result<Applied> remove(const Mutation& m, const RemoveRequest& request) = 0;
  virtual Result<Applied> rename(const Mutation& m, const RenameRequest& request) = 0;
  virtual Result<Applied> link(const Mutation& m, const LinkRequest& request) = 0;
  virtual Result<Applied> set_attributes(const Mutation& m, const SetAttrRequest& request) = 0;
  virtual Result<Applied> commit(const Mutation& m, const CommitRequest& request) = 0;
  virtual Result<Applied> set_xattr(const Mutation& m, const SetXattrRequest& request) = 0;
  // Makes the node Mutation::new_ino, without a name, with that content as version 1, and lists the
  // conflict under Mutation::seq. It counts in no usage. A conflict that (session, operation) left
  // before is answered as it is, settled or not, and nothing is made. Logged as "conflict" of `ino`
  // (version 0: it got none) under the path; settling as "resolve", likewise.
  // `not_found`: the content that it is based on is not kept any more. `stale_node`: `dir` or
  // `from` is no node.
  virtual Result<Conflict> keep(const Mutation& m, const KeepRequest& request) = 0;
  virtual Result<Applied> settle(const Mutation& m, const SettleRequest& request) = 0;

  // -- maintenance -------------------------------------------------------------------------------
  // Removes versions, orphans and log entries past their volume's retention, a bounded number per
  // call; returns how many rows it removed (0: nothing is left to do). A version goes when
  // keep_versions newer ones exist (the head counted) or it was replaced (not: made) more than
  // keep_days ago; the head stays. In the list that a replaced or continued node keeps for its
  // other names, all but the head count as replaced at that rename or create. An orphan (nlink 0)
  // goes keep_days after its ctime, but not within a day: it may be open somewhere; a refused
  // writer's not before it is settled, and keep_days after that. A log entry goes keep_days after
  // its time.
  virtual Result<uint64_t> prune(TenantId tenant, Time now) = 0;
  // Cheap: is the store there? For health checks.
  virtual Status ping() = 0;
};

// "postgres://..." or "postgresql://..." or a libpq conninfo: pg/; "mem:": the model.
struct StoreOptions {
  std::string url;
  unsigned connections = 16;  // pg: of the pool
};

// Wrappers that refuse, lose or delay calls: fault.h.
std::unique_ptr<Store> make_mem_store();

}  // namespace linkspan::store
