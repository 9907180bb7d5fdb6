#include "fusefs/cli/restore_origin.h"

#include <algorithm>
#include <array>

namespace linkspan::cli {

namespace {

constexpr const char* kTemporaryPrefix = ".linkspan-restore-";
constexpr const char* kVersion = "-version-";  // behind the number, of a deleted file
constexpr size_t kDigits = 18;                 // so that a number cannot overflow

struct Words {
  Origin::Kind kind;
  const char* name;    // in the temporary name
  const char* before;  // the number, for people
  const char* after;
};
constexpr std::array<Words, 5> kWords{{
    {Origin::Kind::version, "version", "version ", ""},
    {Origin::Kind::copy, "copy", "version ", " of another file"},
    {Origin::Kind::deletion, "deletion", "what change ", " deleted"},
    {Origin::Kind::conflict, "conflict", "what conflict ", " refused"},
    {Origin::Kind::merged, "merged", "conflict ", ", merged"},
}};

// At the front of `text`, which it takes away. 0: none, as none of ours is.
uint64_t take_number(std::string* text) {
  const size_t length = std::min(text->find_first_not_of("0123456789"), text->size());
  const uint64_t number =
      length > 0 && length <= kDigits ? std::stoull(text->substr(0, length)) : 0;
  text->erase(0, length);
  return number;
}

bool take_text(std::string* text, const std::string& expected) {
  if (text->rfind(expected, 0) != 0) return false;
  text->erase(0, expected.size());
  return true;
}

}  // namespace

std::string restore_temporary(const Origin& origin, pid_t pid) {
  std::string name = kTemporaryPrefix + std::to_string(pid);
  for (const auto& words : kWords)
    if (words.kind == origin.kind)
      name += std::string("-") + words.name + "-" + std::to_string(origin.number);
  if (origin.version != 0) name += kVersion + std::to_string(origin.version);
  return name;
}

std::optional<Origin> origin_of(const std::string& temporary) {
  std::string rest = temporary.substr(temporary.find_last_of('/') + 1);
  if (!take_text(&rest, kTemporaryPrefix) || take_number(&rest) == 0 || !take_text(&rest, "-"))
    return std::nullopt;
  for (const auto& words : kWords) {
    if (!take_text(&rest, std::string(words.name) + "-")) continue;
    Origin origin{words.kind, take_number(&rest)};
    const bool versioned = origin.kind == Origin::Kind::deletion && take_text(&rest, kVersion);
    if (versioned) origin.version = take_number(&rest);
    if (origin.number == 0 || !rest.empty() || versioned != (origin.version != 0))
      return std::nullopt;
    return origin;
  }
  return std::nullopt;
}

std::string origin_words(const Origin& origin) {
  if (origin.version != 0)
    return "version " + std::to_string(origin.version) + " of " +
           origin_words({origin.kind, origin.number});
  for (const auto& words : kWords)
    if (words.kind == origin.kind)
      return words.before + std::to_string(origin.number) + words.after;
  return {};
}

}  // namespace linkspan::cli
