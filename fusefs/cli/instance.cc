#include "fusefs/cli/instance.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "fusefs/cli/paths.h"
#include "fusefs/cli/system.h"
#include "linkspan/limits.h"

namespace linkspan::cli {

namespace {

Result<std::string> read_secret(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return system_error(path, errno);
  if ((st.st_mode & 0077) != 0)
    return fail(Code::access_denied,
                path + " is not only its owner's; mend it with: chmod 600 " + path);
  LINKSPAN_TRY(std::string secret, read_file(path, limits::kInstanceBytes + 1));
  if (secret.size() == limits::kInstanceBytes) return secret;
  return fail(Code::invalid, path + " is not what linkspan keeps there; remove it");
}

// Whole, or not at all: of two who make it at once both have the same.
Status make_secret(const std::string& path) {
  std::string secret(limits::kInstanceBytes, '\0');
  if (::getrandom(secret.data(), secret.size(), 0) != static_cast<ssize_t>(secret.size()))
    return system_error("getrandom", errno);
  std::string fresh = path + ".XXXXXX";
  const UniqueFd fd(::mkostemp(fresh.data(), O_CLOEXEC));  // 0600
  if (!fd) return system_error(fresh, errno);
  Status made = write_all(fd.get(), secret);
  if (made.ok() && ::fsync(fd.get()) != 0) made = system_error(fresh, errno);
  if (made.ok() && ::link(fresh.c_str(), path.c_str()) != 0 && errno != EEXIST)
    made = system_error(path, errno);
  ::unlink(fresh.c_str());
  return made;
}

}  // namespace

Result<std::string> instance_secret(const std::string& override) {
  LINKSPAN_TRY(const std::string dir, state_directory(override));
  const std::string path = dir + "/instance";
  if (auto secret = read_secret(path); secret.ok() || secret.code() != Code::not_found)
    return secret;
  LINKSPAN_CHECK(make_directories(dir, 0700));
  LINKSPAN_CHECK(make_secret(path));
  return read_secret(path);
}

}  // namespace linkspan::cli
