#include "fusefs/cli/router_watch.h"

#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>

#include "fusefs/cli/console.h"
#include "fusefs/cli/mount_report.h"
#include "fusefs/cli/mountinfo.h"
#include "fusefs/cli/system.h"

namespace linkspan::cli {

namespace {

using namespace std::chrono_literals;
using Json = nlohmann::json;
using Steady = std::chrono::steady_clock;

constexpr auto kFirstLook = 1s;  // most commands are done by then
constexpr auto kEvery = 250ms;
constexpr int kSymlinks = 40;  // of one path, as the kernel's bound

bool is_at_or_below(const std::string& path, const std::string& dir) {
  return path == dir || path.rfind(dir == "/" ? dir : dir + "/", 0) == 0;
}

std::optional<std::string> link_at(const std::string& path) {
  char target[PATH_MAX];
  const ssize_t n = ::readlink(path.c_str(), target, sizeof target);
  if (n <= 0 || n == static_cast<ssize_t>(sizeof target)) return std::nullopt;
  return std::string(target, static_cast<size_t>(n));
}

// The mountpoints of ours at or above `path`, the shortest first.
std::vector<std::string> ours_above(const std::vector<MountEntry>& mounts,
                                    const std::string& path) {
  std::vector<std::string> above;
  for (const auto& mount : mounts)
    if (mount.type == kFuseType && is_at_or_below(path, mount.mountpoint))
      above.push_back(mount.mountpoint);
  std::sort(above.begin(), above.end(),
            [](const auto& a, const auto& b) { return a.size() < b.size(); });
  return above;
}

// Without the symlinks outside of our mounts, none of which is asked.
std::string onto_mount(const std::vector<MountEntry>& mounts, std::string path) {
  for (int links = 0; links < kSymlinks; ++links) {
    bool followed = false;
    for (size_t at = 1; at <= path.size() && !followed; ++at) {
      at = std::min(path.find('/', at), path.size());
      const std::string part = path.substr(0, at);
      if (!ours_above(mounts, part).empty()) return path;
      const auto target = link_at(part);
      if (!target) continue;
      const std::string to = target->front() == '/' ? *target : dir_name(part) + "/" + *target;
      path = absolute_path(to + path.substr(at));
      followed = true;
    }
    if (!followed) break;
  }
  return path;
}

// As the shell names it: asking where we are may wait.
std::string as_the_shell_names(const std::string& path) {
  const char* shell = ::getenv("PWD");
  if ((!path.empty() && path.front() == '/') || !shell || shell[0] != '/')
    return absolute_path(path.empty() ? "." : path);
  return absolute_path(path.empty() ? shell : std::string(shell) + "/" + path);
}

struct Away {
  std::string router, since, reason;
};

// What the mount says; none: it has its router, or cannot be asked.
std::optional<Away> ask(const std::string& file) {
  const auto text = read_file(file);
  if (!text.ok()) return std::nullopt;
  const Json json = Json::parse(*text, nullptr, false);
  if (!json.is_object() || json.value("state", "") != "disconnected") return std::nullopt;
  const Json router = json.value("router", Json::object());
  return Away{router.is_object() ? router.value("address", "") : "", json.value("since", ""),
              json.value("reason", "")};
}

std::string words(const Away& away) {
  return "the router at " + printable(away.router) + " is away since " + printable(away.since) +
         (away.reason.empty() ? "" : " (" + printable(away.reason) + ")");
}

std::string seconds(Steady::duration time) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", std::chrono::duration<double>(time).count());
  return text;
}

}  // namespace

// DIR/memory is a mount of its own, but what tells of the mount is at DIR. Of the exposed
// /memory it is at /.linkspan.
std::string mount_above(const std::string& path) {
  const auto mounts = read_mountinfo();
  if (!mounts.ok()) return {};
  for (const auto& place : ours_above(*mounts, onto_mount(*mounts, path)))
    for (const auto& dir : {dir_name(place), place})
      if (::access(((dir == "/" ? "" : dir) + "/.linkspan/status.json").c_str(), F_OK) == 0)
        return dir;
  return {};
}

RouterWatch::RouterWatch(const std::string& path, int status)
    : begun_(Steady::now()),
      file_([&] {
        const auto dir = mount_above(as_the_shell_names(path));
        return dir.empty() ? dir : (dir == "/" ? "" : dir) + "/.linkspan/status.json";
      }()),
      status_(status) {
  if (!file_.empty()) thread_ = std::thread([this] { run(); });
}

RouterWatch::~RouterWatch() {
  stop();
}

void RouterWatch::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopped_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Error RouterWatch::explain(Error error) const {
  if (file_.empty() || (error.code != Code::timed_out && error.code != Code::unavailable))
    return error;
  const auto away = ask(file_);
  if (!away || error.message.find(away->router) != std::string::npos) return error;
  error.message += "; " + words(*away) + ", tried for " + seconds(Steady::now() - begun_);
  return error;
}

void RouterWatch::run() {
  auto there = begun_;  // when it was so last
  std::unique_lock lock(mutex_);
  for (auto next = begun_ + kFirstLook;; next = Steady::now() + kEvery) {
    if (stopped_.wait_until(lock, next, [this] { return stop_; })) return;
    lock.unlock();
    const auto away = ask(file_);
    lock.lock();
    if (!away) there = Steady::now();
    if (stop_ || !away || Steady::now() - there < kRouterPatience) continue;
    complain(words(*away) + ": no answer, tried for " + seconds(Steady::now() - begun_) +
             "; try again when `linkspan status` says that it is connected");
    ::_exit(status_);
  }
}

}  // namespace linkspan::cli
