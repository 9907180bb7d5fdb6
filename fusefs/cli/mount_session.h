// One mount of `linkspan mount` or `run`: the session with the router, a vfs and a FUSE connection
// for each route, the control files, covers, workspace and exposed paths; and the way back. What is
// mounted where is in mount_places.cc, the control files in mount_control.cc.
//
// Threads: open, close from one thread. wait, interrupt: any. The listener's calls come from the
// client's stream thread. Owns all of it; members are destroyed last to first.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "fusefs/cli/mount_query.h"
#include "fusefs/cli/mount_report.h"
#include "fusefs/cli/mount_stack.h"
#include "fusefs/client/router_client.h"
#include "fusefs/fuse/mount_set.h"
#include "fusefs/fuse/watchers.h"
#include "fusefs/vfs/vfs.h"
#include "linkspan/tls_files.h"

namespace linkspan::cli {

// Beside the routes, in every tree.
inline constexpr const char* kWorkspace = "workspace";
inline constexpr const char* kControl = ".linkspan";

struct SessionOptions {
  std::string dir;        // absolute, checked
  std::string router;     // address
  tls::Files tls;         // of tls:// addresses
  std::string token;      // emptied by open(), as is
  std::string instance;   // the sandbox's; empty: it has none
  std::string workspace;  // absolute; empty: none
  vfs::Ownership ownership = vfs::Ownership::squash;
  std::string spool_dir = "/tmp";  // for large unsaved writes
  std::string expose;              // prefix, absolute; empty: not
  bool read_only = false;          // the whole tree, whatever the grant allows
  std::string shown_at;            // of `linkspan run`: where its command sees the tree; else empty
  std::string mounts_dir;  // for the state file, and without the right to mount; empty: none
  std::vector<MountStep> inherited;  // of a mount at `dir` whose process has ended
};

class MountSession final : public client::SessionListener {
 public:
  // When it returns a session, every mount has answered. On an error nothing of it is left, but
  // what was inherited: that stays, and where its mounts are gone their covers do.
  // Cancelling `cancel` gives up waiting for the router.
  static Result<std::unique_ptr<MountSession>> open(SessionOptions options,
                                                    client::CancelToken* cancel);
  ~MountSession() override;
  MountSession(const MountSession&) = delete;
  MountSession& operator=(const MountSession&) = delete;

  // The mountpoint that somebody unmounted, or empty after interrupt().
  std::string wait() { return mounts_.wait(); }
  void settle() { mounts_.settle(); }  // after wait(): until whoever unmounts us is through
  void interrupt() { mounts_.interrupt(); }
  // DIR was unmounted, and what is exposed elsewhere keeps its connection from ending.
  bool is_abandoned() const;
  bool exposes() const { return mounting_ && !exposed_.empty(); }

  // Writes what is unsaved, takes every mount away (also in use: their users get ENOTCONN), ends
  // the session. Returns what failed; unsaved bytes are named in it. Cancelling `cancel` gives up
  // writing.
  std::vector<Error> close(client::CancelToken* cancel);

  MountReport report() const;
  std::string ready_line() const;  // JSON, one line

  void on_revoke(const Revocation& revocation) override;
  void on_caches_lost() override;
  void on_link(const client::LinkState& state) override;
  void on_locks_lost(const std::vector<Lock>& locks) override;

 private:
  struct RoutePart {
    Route route;
    std::unique_ptr<fuse::Notifier> notifier;
    std::unique_ptr<vfs::Vfs> vfs;        // after the notifier it tells
    std::unique_ptr<fuse::OwnCalls> own;  // after both
  };
  using Routes = std::vector<RoutePart>;

  explicit MountSession(SessionOptions options);
  Status attach(client::CancelToken* cancel);
  Status mount_all();
  void start_watchers();

  // -- mount_places.cc --
  void plan();
  Status mount_routes();
  Status mount_route(const RoutePart& part);
  std::string aside() const;
  std::string route_directory(const std::string& path) const;
  Status mount_workspace();
  Status serve_workspace();
  Status expose_all();
  Status expose(const std::string& from, const std::string& to);
  Status check_all() const;
  Status bind(const std::string& from, const std::string& to);
  std::vector<std::string> missing() const;

  // -- mount_control.cc --
  fuse::ControlTree control_tree();
  std::string changes(bool json);
  MountQueries queries();
  std::optional<uint64_t> conflicts() const;
  void count_conflicts_anew();

  void drop_everything();
  void sync(client::CancelToken* cancel, std::vector<Error>* failures);
  std::shared_ptr<const Routes> routes() const;
  void save(const std::vector<MountStep>& steps) const;

  const SessionOptions options_;
  // As root or in a user namespace. Else fusermount3 mounts, and cannot do so inside of another
  // FUSE mount (that shuts set-uid programs out): routes are mounted aside, and DIR has symlinks to
  // them.
  const bool mounting_;
  const Time started_;
  std::string workspace_form_;
  std::vector<std::string> exposed_;
  client::SessionInfo info_;
  MountStack stack_;
  fuse::Watchers watchers_;  // before the client, whose thread calls it; joined by close()
  std::unique_ptr<client::RouterClient> client_;

  std::atomic<bool> asking_changes_{false};  // somebody asks the router for them
  mutable std::mutex mutex_;  // leaf, of the next five; not held during any call but of mountinfo
  std::vector<std::pair<std::string, dev_t>> binds_;  // the workspace and what is exposed
  std::vector<Change> changes_;                       // as last seen
  mutable std::optional<uint64_t> conflicts_;         // as last seen
  mutable std::chrono::steady_clock::time_point conflicts_asked_;  // begun
  std::shared_ptr<const Routes> routes_;  // after these: its background threads tell them

  fuse::MountSet mounts_;  // after what it serves: goes first
  bool closed_ = false;
};

}  // namespace linkspan::cli
