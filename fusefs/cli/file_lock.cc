#include "fusefs/cli/file_lock.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

namespace linkspan::cli {

namespace {
constexpr int kPlaceTries = 10;  // each is lost only to another that begins or ends just then
}

Result<UniqueFd> open_lock(const std::string& path) {
  UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file) return system_error(path, errno);
  return file;
}

bool is_at(const UniqueFd& file, const std::string& path) {
  struct stat open, there;
  return ::fstat(file.get(), &open) == 0 && ::stat(path.c_str(), &there) == 0 &&
         open.st_dev == there.st_dev && open.st_ino == there.st_ino;
}

bool try_lock(const UniqueFd& file, int operation) {
  return ::flock(file.get(), operation | LOCK_NB) == 0;
}

void unlock(const UniqueFd& file) {
  ::flock(file.get(), LOCK_UN);
}

Result<bool> lock_within(const UniqueFd& file, int operation, std::chrono::milliseconds timeout) {
  if (try_lock(file, operation)) return true;
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  struct sigaction wake = {}, before = {};
  wake.sa_handler = [](int) {};  // without SA_RESTART: flock returns EINTR
  ::sigaction(SIGALRM, &wake, &before);
  // Repeating, so that a signal that comes just before flock() is not the last one.
  const itimerval tick{{0, 100000}, {0, 100000}};
  const itimerval none{};
  ::setitimer(ITIMER_REAL, &tick, nullptr);
  bool locked = false;
  int error = EINTR;
  while (!locked && error == EINTR && std::chrono::steady_clock::now() < deadline) {
    locked = ::flock(file.get(), operation) == 0;
    error = errno;
  }
  ::setitimer(ITIMER_REAL, &none, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
  if (!locked && error != EINTR) return system_error("flock", error);
  return locked;
}

std::vector<pid_t> lock_holders(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return {};
  char wanted[64];
  std::snprintf(wanted, sizeof wanted, "%02x:%02x:%llu", major(st.st_dev), minor(st.st_dev),
                static_cast<unsigned long long>(st.st_ino));
  std::vector<pid_t> holders;
  const auto text = read_file("/proc/locks", 16 << 20);
  if (!text.ok()) return holders;
  for (const auto& line : split(*text, '\n')) {
    // "1: FLOCK  ADVISORY  READ 1234 fe:00:5678 0 EOF"; waiters have "->" after the number.
    std::vector<std::string> words;
    for (auto& word : split(line, ' '))
      if (!word.empty()) words.push_back(std::move(word));
    if (words.size() > 5 && words[1] == "FLOCK" && words[5] == wanted)
      holders.push_back(std::atoi(words[4].c_str()));
  }
  return holders;
}

Result<PlaceLock> PlaceLock::take(const std::string& path) {
  // Who held it before may have removed the file after we opened it.
  for (int tries = 0; tries < kPlaceTries; ++tries) {
    LINKSPAN_TRY(auto file, open_lock(path));
    if (!try_lock(file, LOCK_EX)) break;
    if (is_at(file, path)) return PlaceLock(path, std::move(file));
  }
  return fail(Code::busy, path + " is locked by another process");
}

bool PlaceLock::take_path(const std::string& path) {
  struct stat space {};  // of the mount namespace
  (void)::stat("/proc/self/ns/mnt", &space);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  const std::string text =
      "linkspan-mount/" + hex(hash_text(std::to_string(space.st_ino) + ":" + path));
  text.copy(name.sun_path + 1, sizeof name.sun_path - 1);  // the first byte stays 0: abstract
  name_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  return ::bind(name_.get(), reinterpret_cast<const sockaddr*>(&name), size) == 0 ||
         errno != EADDRINUSE;
}

PlaceLock::~PlaceLock() {
  if (!file_) return;
  ::unlink(path_.c_str());
  unlock(file_);
}

}  // namespace linkspan::cli
