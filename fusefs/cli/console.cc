#include "fusefs/cli/console.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace linkspan::cli {

void say(const std::string& message) {
  const std::string line = "linkspan: " + message + "\n";
  std::fflush(stdout);
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
}

int complain(const std::string& message) {
  say(message);
  return kFailure;
}

int complain(const Error& error) {
  return complain(error.message.empty() ? std::string(to_string(error.code)) : error.message);
}

std::string coloured(int fd, Colour colour, const std::string& text) {
  const char* term = ::getenv("TERM");
  if (colour == Colour::plain || !::isatty(fd) || ::getenv("NO_COLOR") ||
      (term && std::strcmp(term, "dumb") == 0))
    return text;
  const char* code = "0";
  switch (colour) {
    case Colour::good:
      code = "32";
      break;
    case Colour::bad:
      code = "1;31";
      break;
    case Colour::dim:
      code = "2";
      break;
    case Colour::bold:
      code = "1";
      break;
    case Colour::plain:
      break;
  }
  return std::string("\033[") + code + "m" + text + "\033[0m";
}

}  // namespace linkspan::cli
