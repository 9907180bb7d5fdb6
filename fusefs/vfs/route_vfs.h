// The Vfs of one route. Its methods are spread over the files named after what they are about:
// names.cc, attributes.cc, reading.cc, writing.cc, directories.cc, xattrs.cc, locking.cc; vfs.cc
// puts the parts together.
//
// Lock order: OpenFiles', OpenFile's, and under that one the leaves: BaseVersions', KernelView's of
// pages, ToldSizes', SpoolPlace's. No other two locks of this folder are held together.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "fusefs/vfs/base_versions.h"
#include "fusefs/vfs/commits.h"
#include "fusefs/vfs/contents.h"
#include "fusefs/vfs/kernel_view.h"
#include "fusefs/vfs/locks.h"
#include "fusefs/vfs/observer.h"
#include "fusefs/vfs/open_files.h"
#include "fusefs/vfs/relatime.h"
#include "fusefs/vfs/second_tries.h"
#include "fusefs/vfs/tree.h"
#include "fusefs/vfs/unsettled.h"
#include "fusefs/vfs/vfs.h"
#include "fusefs/vfs/wal_refusals.h"

namespace linkspan::vfs {

inline constexpr double kUntilPush = 3600;  // seconds: the kernel keeps it until it is told to drop
inline constexpr unsigned kEditTries = 16;  // edits that our own commits overtook, of one call
inline constexpr unsigned kSeekSteps = 64;  // of one seek: pages of data ranges, and tries
// What a write waits for room that commits make, in all and before each new try.
inline constexpr std::chrono::milliseconds kRoomWait{1500}, kRoomStep{20};
inline constexpr unsigned kReadTries = 8;  // reads whose version was pruned meanwhile, of one call

class RouteVfs final : public Vfs {
 public:
  RouteVfs(client::RouterClient* client, KernelCache* kernel, VfsOptions options);
  ~RouteVfs() override;

  Result<Entry> lookup(const Caller& c, Ino parent, const std::string& name) override;
  Result<AttrReply> getattr(const Caller& c, Ino ino, std::optional<Handle> handle) override;
  Result<AttrReply> setattr(const Caller& c, Ino ino, const SetAttr& set,
                            std::optional<Handle> handle) override;
  Result<std::string> readlink(const Caller& c, Ino ino) override;
  Result<Entry> mknod(const Caller& c, Ino parent, const std::string& name, Kind kind,
                      uint32_t mode) override;
  Result<Entry> mkdir(const Caller& c, Ino parent, const std::string& name, uint32_t mode) override;
  Result<Entry> symlink(const Caller& c, Ino parent, const std::string& name,
                        const std::string& target) override;
  Status unlink(const Caller& c, Ino parent, const std::string& name) override;
  Status rmdir(const Caller& c, Ino parent, const std::string& name) override;
  Status rename(const Caller& c, Ino from, const std::string& from_name, Ino to,
                const std::string& to_name, unsigned flags) override;
  Result<Entry> link(const Caller& c, Ino ino, Ino parent, const std::string& name) override;

  Result<Opened> open(const Caller& c, Ino ino, int flags) override;
  Result<std::pair<Entry, Opened>> create(const Caller& c, Ino parent, const std::string& name,
                                          uint32_t mode, int flags) override;
  Result<std::string> read(const Caller& c, Ino ino, Handle h, uint64_t offset,
                           size_t size) override;
  Result<size_t> write(const Caller& c, Ino ino, Handle h, uint64_t offset, std::string_view data,
                       bool append) override;
  Status flush(const Caller& c, Ino ino, Handle h) override;
  Status fsync(const Caller& c, Ino ino, Handle h) override;
  void release(Ino ino, Handle h) override;
  Status fallocate(const Caller& c, Ino ino, Handle h, int mode, uint64_t offset,
                   uint64_t length) override;
  Result<std::optional<uint64_t>> seek(const Caller& c, Ino ino, Handle h, uint64_t offset,
                                       bool data) override;
  Result<size_t> copy_range(const Caller& c, Ino from, Handle from_h, uint64_t from_offset, Ino to,
                            Handle to_h, uint64_t to_offset, size_t size) override;

  Result<Handle> opendir(const Caller& c, Ino ino) override;
  Result<std::vector<DirItem>> readdir(const Caller& c, Ino ino, Handle h, uint64_t offset,
                                       size_t limit) override;
  void releasedir(Ino ino, Handle h) override;

  Result<std::string> getxattr(const Caller& c, Ino ino, const std::string& name) override;
  Result<std::vector<std::string>> listxattr(const Caller& c, Ino ino) override;
  Status setxattr(const Caller& c, Ino ino, const std::string& name, std::string value,
                  int flags) override;
  Status removexattr(const Caller& c, Ino ino, const std::string& name) override;
  Result<StatFsReply> statfs(const Caller& c, Ino ino) override;

  Result<std::optional<OpNumber>> set_lock(const Caller& c, Handle h, const Lock& lock,
                                           bool wait) override;
  void await_lock(OpNumber number, const Lock& lock, std::shared_ptr<client::CancelToken> cancel,
                  LockDone done) override;
  Result<TestLockReply> test_lock(const Caller& c, const Lock& lock) override;
  Status unlock_owner(const Caller& c, Ino ino, uint64_t owner) override;
  void unlock_handle(Ino ino, Handle h) override;

  Status sync_all(const Caller& c) override;
  void on_revoke(const Revocation& revocation) override;
  void on_caches_lost() override;
  void on_locks_lost(const std::vector<Lock>& locks) override;
  ReplyGate& reply_gate() override { return gate_; }
  Observer* observer() override { return &observer_; }
  Stats stats() const override;

 private:
  // `ino`: of a READ.
  Doing begin(const Caller& c, Ino ino = {}) {
    kernel_.sizes().came(c.tid, ino);
    return Doing::until_timeout(options_, c.cancel);
  }
  Status writable() const;

  // -- how callers see it (attributes.cc) --
  double while_leased() const;
  double entry_time(bool cached) const;
  // When something was asked: changes of others since make the answer old by `as_of`, and own
  // commits by `commits`.
  struct Asked {
    uint64_t as_of = 0;
    uint64_t commits = 0;
  };
  Asked now() const { return {gate_.now(), commits_.count()}; }
  Result<Entry> entry(const Doing& doing, const Node& node, bool name_cached, bool node_cached,
                      const Asked& asked, int32_t tid);
  // After an own mutation: what of it may be cached stands in the caches.
  Result<Entry> entry_of(const Caller& c, const Doing& doing, const cache::Name& name,
                         const Node& node);
  // `by`: nothing if the kernel takes in no attributes.
  Result<AttrReply> attr_reply(const Doing& doing, KnownNode known, const Asked& asked,
                               const std::optional<ToldSizes::Asker>& by);
  void tells_size(const Caller& c, OpenFile& file, std::optional<Handle> handle, Sight seen,
                  AttrReply* reply);

  // -- mutations --
  // After each: what it touches stays out of the caches if `operation`, its number, got no answer.
  // `taken`: names that lead elsewhere, or nowhere, by it; `made`: those that lead somewhere.
  void unless_heard(OpNumber operation, const std::vector<cache::Name>& taken,
                    const std::vector<cache::Name>& made, std::vector<RevokedNode> nodes = {});
  // By a change of ours that was heard.
  void names_moved(std::initializer_list<cache::Name> names);
  // `lease`: false, and nobody waits for the kernel.
  void drop_caches(const std::function<bool()>& lease);
  void forget(const Revocation& revocation);
  Result<Entry> make(const Caller& c, CreateRequest request);
  Result<MutationReply> create_node(const Doing& doing, const Caller& c, CreateRequest request);
  Status remove(const Caller& c, Ino parent, const std::string& name, bool directory);
  Status commit_named(const Doing& doing, const cache::Name& name);
  void refused(const Caller& c, const RenameRequest& request, const Error& error);
  void renamed(const Process& process, const RenameRequest& request, const MutationReply& reply,
               cache::Ticket ticket, const std::optional<Ino>& target_before,
               const std::optional<KnownNode>& moved_before);
  Status learn_outcome(const Doing& doing, const Process& process, const cache::Name& target,
                       const BaseVersions::Unanswered& rename);
  // `replacing`: who renamed another file over them (Process{}: not known); none: they were
  // removed.
  void without_names(const MutationReply& reply, const std::optional<Process>& replacing);
  Status set_size(const Caller& c, const Doing& doing, Ino ino, uint64_t size,
                  std::optional<Handle> handle);
  Result<bool> is_behind(const Caller& c, const Doing& doing, Ino ino);
  Status truncate_as_writer(const Caller& c, const Doing& doing, Ino ino, uint64_t size);
  Status send_attributes(const Caller& c, const Doing& doing, Ino ino, const SetAttr& set);
  void resized(const Caller& c, Ino ino, Version before, Version now);
  Result<bool> owner_change(const SetAttr& set) const;

  // -- files --
  Status may_open(const Doing& doing, const Attr& attr, int flags);
  Result<Opened> opened(const Caller& c, const Doing& doing, const KnownNode& known, int flags,
                        bool fresh);
  Status read_gaps(const Doing& doing, Ino ino, const OpenFile::Reading& reading, uint64_t offset,
                   char* out);
  Result<size_t> read_committed(const Caller& c, const Doing& doing, FileHandle& handle,
                                uint64_t offset, char* out, size_t size);
  Result<size_t> read_view(const Caller& c, const Doing& doing, FileHandle& handle, uint64_t offset,
                           char* out, size_t size);
  Result<std::shared_ptr<const DataMap>> data_map(const Doing& doing, FileHandle& handle,
                                                  const Attr& attr, Version version,
                                                  uint64_t offset);
  Status strip_set_id(const Caller& c, const Doing& doing, const Attr& attr);
  bool matters(const Attr& attr) const;
  void emptied(OpenFile& file, const Process& by);
  bool changed_lately(const Attr& attr);
  void note_read(const Caller& c, Ino ino, Version version);
  Editor editor(const Caller& c, Ino ino, Handle h);
  cache::FoundNames known_under(const Process& process, Ino ino, const FileHandle* handle);
  Reader reader(const Caller& c, Ino ino, const FileHandle* handle = nullptr);
  using Edit = std::function<Result<Edited>(const Beneath&, const Editor&)>;
  // Makes the edit on what lies beneath; the kernel may hold page locks.
  Status edit(const Caller& c, const Doing& doing, Handle h, OpenFile& file, const Edit& edit);
  Status under_its_locks(const FileHandle& handle);
  bool commits_go() const;
  Status when_there_is_room(const Doing& doing, Ino ino, const std::function<Status()>& write);
  void make_room(const Doing& doing, Ino ino);
  Status commit_and_report(const Caller& c, const Doing& doing, Handle h, const FileHandle& handle);
  bool truncation_may_wait(const Caller& c, Handle h, const FileHandle& handle);
  void accessed_by_pages(FileHandle& handle);

  // -- extended attributes (xattrs.cc) --
  Result<std::string> history_xattr(const Doing& doing, Ino ino, const std::string& name);
  Status change_xattr(const Caller& c, SetXattrRequest request);

  // -- locks (locking.cc) --
  Lock marked(Lock lock);
  void synchronised(const Doing& doing, int32_t tid, const Lock& lock);
  void note_wal(const Lock& asked, const TestLockReply& found);

  void forget_evicted();

  const VfsOptions options_;
  client::RouterClient* const client_;
  ReplyGate gate_;
  Processes processes_;
  SpoolPlace spool_;
  cache::ContentCache content_;
  Tree tree_;
  TreeObserver observer_{&tree_, &options_};
  Contents contents_;
  OpenFiles files_{&spool_};
  BaseVersions bases_;
  KernelView kernel_;
  Relatime relatime_;
  Commits commits_;
  Locks locks_;
  Unsettled unsettled_;
  SecondTries second_tries_;
  mutable WalRefusals wal_refusals_;
  std::atomic<uint64_t> revocations_{0}, refused_{0};
};

}  // namespace linkspan::vfs
