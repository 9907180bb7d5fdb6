#include "fusefs/cli/system.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

namespace linkspan::cli {

void UniqueFd::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

Result<Pipe> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return system_error("pipe", errno);
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

namespace {

Code code_of(int error) {
  switch (error) {
    case ENOENT:
      return Code::not_found;
    case EEXIST:
      return Code::exists;
    case ENOTDIR:
      return Code::not_directory;
    case ENOTEMPTY:
      return Code::not_empty;
    case EACCES:
      return Code::access_denied;
    case EPERM:
      return Code::not_permitted;
    case EBUSY:
      return Code::busy;
    case ETIMEDOUT:
      return Code::timed_out;
    case ENOTCONN:
    case ECONNABORTED:  // a request that was under way when the mount's process died
      return Code::unavailable;
    case ENOSPC:
      return Code::no_space;
    case EINVAL:
      return Code::invalid;
    default:
      return Code::io;
  }
}

}  // namespace

Error system_error(const std::string& what, int error) {
  return fail(code_of(error), what + ": " + ::strerror(error));
}

Result<std::string> read_fd(int fd, size_t max_bytes) {
  std::string text;
  char buffer[16384];
  while (text.size() <= max_bytes) {
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("read", errno);
    if (n == 0) return text;
    text.append(buffer, static_cast<size_t>(n));
  }
  return fail(Code::too_large, "longer than " + std::to_string(max_bytes) + " bytes");
}

Result<std::string> read_file(const std::string& path, size_t max_bytes) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return system_error(path, errno);
  auto text = read_fd(fd.get(), max_bytes);
  if (!text.ok()) return Error{text.code(), path + ": " + text.error().message, 0};
  return text;
}

std::string tail_of_file(const std::string& path, size_t max_bytes) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st;
  if (!fd || ::fstat(fd.get(), &st) != 0) return {};
  const off_t from = std::max<off_t>(0, st.st_size - static_cast<off_t>(max_bytes));
  std::string text(max_bytes, '\0');
  size_t size = 0;
  while (size < max_bytes) {
    const ssize_t n =
        ::pread(fd.get(), text.data() + size, max_bytes - size, from + static_cast<off_t>(size));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    size += static_cast<size_t>(n);
  }
  text.resize(size);
  return trim(text);
}

Status write_all(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("write", errno);
    data.remove_prefix(static_cast<size_t>(n));
  }
  return ok();
}

Status write_file(const std::string& path, std::string_view content, mode_t mode) {
  std::string temporary = path + ".XXXXXX";
  UniqueFd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd) return system_error(dir_name(path), errno);
  auto written = write_all(fd.get(), content);
  if (written.ok() && (::fchmod(fd.get(), mode) != 0 || ::fsync(fd.get()) != 0 ||
                       ::rename(temporary.c_str(), path.c_str()) != 0))
    written = system_error(path, errno);
  if (!written.ok()) {
    ::unlink(temporary.c_str());
    return written;
  }
  const UniqueFd dir(::open(dir_name(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir || ::fsync(dir.get()) != 0) return system_error(dir_name(path), errno);
  return ok();
}

Status make_directories(const std::string& path, mode_t mode) {
  struct stat st;
  if (::stat(path.c_str(), &st) == 0) {
    if (S_ISDIR(st.st_mode)) return ok();
    return fail(Code::not_directory, path + " is not a directory");
  }
  if (errno != ENOENT) return system_error(path, errno);
  const std::string parent = dir_name(path);
  if (parent != path) LINKSPAN_CHECK(make_directories(parent, mode));
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return system_error(path, errno);
  return ok();
}

Result<bool> is_empty_directory(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(path.c_str()), ::closedir);
  if (!stream) return system_error(path, errno);
  while (const dirent* entry = ::readdir(stream.get()))
    if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0) return false;
  return true;
}

std::string absolute_path(const std::string& path) {
  std::error_code error;
  auto absolute = std::filesystem::absolute(path, error).lexically_normal().string();
  if (error || absolute.empty()) return path;
  while (absolute.size() > 1 && absolute.back() == '/') absolute.pop_back();
  return absolute;
}

std::string real_path(const std::string& path) {
  const std::string absolute = absolute_path(path);
  const auto resolve = [](const std::string& from) -> std::optional<std::string> {
    char resolved[PATH_MAX];
    if (!::realpath(from.c_str(), resolved)) return std::nullopt;
    return resolved;
  };
  if (auto whole = resolve(absolute)) return *whole;
  const auto parent = resolve(dir_name(absolute));
  if (!parent) return absolute;
  return (*parent == "/" ? "" : *parent) + "/" + base_name(absolute);
}

std::string base_name(const std::string& path) {
  return path.substr(path.find_last_of('/') + 1);  // npos + 1 == 0
}

std::string dir_name(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1));
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(separator, at), text.size());
    parts.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

uint64_t hash_text(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const unsigned char c : text) hash = (hash ^ c) * 0x100000001b3ull;
  return hash;
}

std::string hex(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

std::string own_executable() {
  char path[PATH_MAX];
  const ssize_t n = ::readlink("/proc/self/exe", path, sizeof path);
  return n > 0 ? std::string(path, static_cast<size_t>(n)) : std::string();
}

std::optional<std::string> find_program(const std::string& name) {
  const auto runnable = [](const std::string& path) {
    struct stat st;
    return ::stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode) &&
           ::access(path.c_str(), X_OK) == 0;
  };
  if (name.find('/') != std::string::npos)
    return runnable(name) ? std::optional(name) : std::nullopt;
  const char* path = ::getenv("PATH");
  for (const auto& dir : split(path ? path : "/usr/local/bin:/usr/bin:/bin", ':')) {
    const std::string candidate = (dir.empty() ? "." : dir) + "/" + name;
    if (runnable(candidate)) return candidate;
  }
  return std::nullopt;
}

}  // namespace linkspan::cli
