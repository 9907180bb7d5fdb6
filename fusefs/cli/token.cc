#include "fusefs/cli/token.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "fusefs/cli/system.h"

namespace linkspan::cli {

namespace {

constexpr size_t kTokenFileBytes = 4096;
constexpr std::string_view kPrefix = "lsp_";
constexpr size_t kSecretCharacters = 43;  // 256 bits in base64url

// Takes the variable's value and wipes it: /proc/PID/environ shows the memory that exec laid out.
std::string take_environment(const char* name) {
  char* value = ::getenv(name);
  if (!value) return {};
  std::string taken = value;
  ::explicit_bzero(value, std::strlen(value));
  ::unsetenv(name);
  return taken;
}

Result<std::string> checked(std::string text, const std::string& where) {
  text = trim(text);
  if (has_token_form(text)) return text;
  if (text.empty())
    return fail(Code::unauthenticated, where +
                                           " has no token in it; put there what the operator "
                                           "of the router gave (lsp_ and 43 characters)");
  return fail(Code::unauthenticated, "the token from " + where +
                                         " does not look like one (lsp_ and 43 characters); " +
                                         "ask the operator of the router for a token");
}

Result<std::string> from_file(const std::string& path, const std::string& where) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0)
    return fail(Code::unauthenticated,
                "token file " + path + " (" + where + "): " + std::strerror(errno) +
                    "; put the token there (chmod 600), or name its file: --token-file FILE");
  // A container's secret is often readable by all and not ours to change; a file of our own is.
  const bool ours = st.st_uid == ::geteuid() && ::access(path.c_str(), W_OK) == 0;
  if (S_ISDIR(st.st_mode))
    return fail(Code::unauthenticated, "token file " + path + " is a directory; name the file " +
                                           "in it that holds the token: --token-file FILE");
  if (S_ISREG(st.st_mode) && ((st.st_mode & 0022) != 0 || (ours && (st.st_mode & 0004) != 0)))
    return fail(Code::unauthenticated, "token file " + path + " can be " +
                                           ((st.st_mode & 0022) ? "written" : "read") +
                                           " by others; mend it with: chmod 600 " + path);
  auto text = read_file(path, kTokenFileBytes);
  if (!text.ok()) return fail(Code::unauthenticated, "token file " + text.error().message);
  return checked(*text, path);
}

}  // namespace

bool has_token_form(const std::string& token) {
  return token.size() == kPrefix.size() + kSecretCharacters && token.compare(0, 4, kPrefix) == 0 &&
         std::all_of(token.begin() + 4, token.end(),
                     [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_'; });
}

TokenVariables take_token_variables(const TokenSource& source) {
  if (source.fd > 2) ::fcntl(source.fd, F_SETFD, FD_CLOEXEC);
  return {take_environment("LINKSPAN_TOKEN"), take_environment("LINKSPAN_TOKEN_FILE")};
}

Result<std::string> read_token(const TokenSource& source, const TokenVariables& variables) {
  if (!source.file.empty()) return from_file(source.file, "--token-file");
  if (source.fd >= 0) {
    auto text = read_fd(source.fd, kTokenFileBytes);
    ::close(source.fd);
    const std::string where = "--token-fd " + std::to_string(source.fd);
    if (!text.ok()) return fail(Code::unauthenticated, where + ": " + text.error().message);
    return checked(*text, where);
  }
  if (!variables.token.empty()) return checked(variables.token, "LINKSPAN_TOKEN");
  if (!variables.file.empty()) return from_file(variables.file, "LINKSPAN_TOKEN_FILE");
  if (const char* credentials = ::getenv("CREDENTIALS_DIRECTORY")) {
    // systemd keeps these files private by itself, with modes of its own.
    const std::string path = std::string(credentials) + "/linkspan-token";
    if (auto text = read_file(path, kTokenFileBytes); text.ok()) return checked(*text, path);
  }
  return fail(Code::unauthenticated,
              "no token: give --token-file FILE or --token-fd N, or set LINKSPAN_TOKEN_FILE "
              "(the operator of the router has it)");
}

}  // namespace linkspan::cli
