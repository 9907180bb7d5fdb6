// linkspan mount
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "fusefs/cli/cleanup.h"
#include "fusefs/cli/commands.h"
#include "fusefs/cli/console.h"
#include "fusefs/cli/mount_server.h"
#include "fusefs/cli/paths.h"
#include "fusefs/cli/preflight.h"
#include "fusefs/cli/router_choice.h"

namespace linkspan::cli {

namespace {

struct Prepared {
  ServeOptions serve;
  std::optional<LocalStack> local;
};

// What a dead mount at the same place has left there. Its covers stay until we are mounted on them:
// nothing may fall through to the directory beneath meanwhile, however long the router is away.
Result<std::vector<MountStep>> check_place(const MountOptions& options,
                                           const std::string& mounts_dir) {
  const auto checked = check_mountpoint(options.dir, options.non_empty);
  if (!checked.ok() && checked.code() != Code::unavailable) return checked.error();
  LINKSPAN_TRY(auto steps, left_over_steps(mounts_dir, options.dir));
  if (!checked.ok()) say("taking its place: " + checked.error().message);
  return steps;
}

Result<PlaceLock> lock_place(const MountOptions& options, const std::string& mounts_dir) {
  auto lock = PlaceLock::take(state_file(mounts_dir, options.dir) + ".lock");
  if (lock.ok() && lock->take_path(options.dir)) return lock;
  if (!lock.ok() && lock.code() != Code::busy) return lock;
  return fail(Code::busy, "another linkspan is just mounting on " + options.dir +
                              "; see: linkspan status " + options.dir);
}

Result<Prepared> prepare(MountOptions& options) {
  Prepared prepared;
  auto& session = prepared.serve.session;
  options.dir = real_path(options.dir);
  LINKSPAN_TRY(session.mounts_dir, mounts_directory(options.router.state_dir));
  LINKSPAN_TRY(auto lock, lock_place(options, session.mounts_dir));
  prepared.serve.place.emplace(std::move(lock));
  remove_half_written(session.mounts_dir, options.dir);
  LINKSPAN_TRY(session.inherited, check_place(options, session.mounts_dir));
  LINKSPAN_CHECK(check_fuse_device());
  LINKSPAN_TRY(session.spool_dir, choose_spool(options.spool_dir));
  if (!options.workspace.empty()) {
    session.workspace = absolute_path(options.workspace);
    LINKSPAN_CHECK(check_workspace(session.workspace, options.dir));
  }
  if (!options.expose.empty()) {
    session.expose = real_path(options.expose);
    LINKSPAN_CHECK(check_prefix(session.expose));
  }
  LINKSPAN_TRY(auto router, resolve_router(options.router));
  session.dir = options.dir;
  session.read_only = options.read_only;
  session.router = router.address;
  session.tls = router.tls;
  session.token = std::move(router.token);
  session.instance = std::move(router.instance);
  prepared.local = std::move(router.local);
  session.ownership =
      options.owner == "identity" ? vfs::Ownership::identity : vfs::Ownership::squash;
  prepared.serve.ready_fd = options.ready_fd;
  return prepared;
}

int serve(Prepared prepared, const LogOptions& log, bool to_stderr) {
  // The token is in this process's memory: nobody of the same user shall read it there.
  ::prctl(PR_SET_DUMPABLE, 0);
  if (auto set = set_up_log(log, to_stderr); !set.ok()) return complain(set.error());
  const int status = serve_mount(std::move(prepared.serve));
  if (prepared.local) prepared.local->leave(true);
  return status;
}

// The parent's end: waits until the child is ready or has failed.
int await_child(pid_t child, int report_fd) {
  auto report = await_report(report_fd);
  if (report.ok()) return kSuccess;
  (void)wait_child(child).ok();  // it has taken back what it had mounted
  return complain(report.error());
}

int in_background(Prepared prepared, const LogOptions& log) {
  auto pipe = make_pipe();
  if (!pipe.ok()) return complain(pipe.error());
  const pid_t child = ::fork();
  if (child < 0) return complain(system_error("fork", errno));
  if (child > 0) {
    pipe->write.reset();
    prepared.serve.place->leave_to_child();
    if (prepared.local) prepared.local->leave(false);
    return await_child(child, pipe->read.get());
  }
  pipe->read.reset();
  if (prepared.local) prepared.local->hold_as_own();
  ::setsid();
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (::chdir("/") != 0 || ::dup2(null.get(), 0) < 0 || ::dup2(null.get(), 1) < 0 ||
      ::dup2(null.get(), 2) < 0)
    ::_exit(kFailure);
  prepared.serve.report_fd = pipe->write.release();
  ::exit(serve(std::move(prepared), log, false));
}

}  // namespace

int mount_command(MountOptions options) {
  auto prepared = prepare(options);
  if (!prepared.ok()) return complain(prepared.error());
  if (options.foreground) return serve(*std::move(prepared), options.log, true);
  return in_background(*std::move(prepared), options.log);
}

}  // namespace linkspan::cli
