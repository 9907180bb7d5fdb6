// linkspan diff
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "fusefs/cli/commands.h"
#include "fusefs/cli/console.h"
#include "fusefs/cli/history_words.h"
#include "fusefs/cli/mount_report.h"
#include "fusefs/cli/past_version.h"
#include "fusefs/cli/patch.h"
#include "fusefs/cli/router_watch.h"
#include "fusefs/cli/system.h"

namespace linkspan::cli {

namespace {

constexpr size_t kDiffBytes = 64 << 20;  // of one side
enum : int { kSame = 0, kDiffer = 1, kTrouble = 2 };

struct Side {
  std::string name, text;
};

Error too_large(const std::string& name) {
  return fail(Code::too_large, name + " is larger than " + std::to_string(kDiffBytes >> 20) +
                                   " MiB; write both with `linkspan cat` and compare the files");
}

Result<Side> side_of(const PastVersion& past) {
  Side side{printable(past.name()), {}};
  LINKSPAN_CHECK(past.content([&](const std::string& piece) -> Status {
    side.text += piece;
    if (side.text.size() > kDiffBytes) return too_large(side.name);
    return ok();
  }));
  return side;
}

// As it is now: any file.
Result<Side> side_of_file(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return system_error(path, errno);
  if (!S_ISREG(st.st_mode)) return fail(Code::invalid, path + " is not a plain file");
  if (static_cast<size_t>(st.st_size) > kDiffBytes) return too_large(path);
  LINKSPAN_TRY(auto text, read_file(path, kDiffBytes));
  return Side{printable(path), std::move(text)};
}

Result<Side> side(const std::string& text) {
  const auto named = parse_path_version(text);
  struct stat st;
  const bool plain =
      !named.version || (::stat(named.path.c_str(), &st) != 0 && ::stat(text.c_str(), &st) == 0);
  if (plain) return side_of_file(text);
  LINKSPAN_TRY(const auto past, find_past_version(text, 0));
  return side_of(past);
}

Result<int> compare(const DiffOptions& options) {
  LINKSPAN_TRY(const auto from, find_past_version(options.from, options.from_version));
  LINKSPAN_TRY(const auto old_side, side_of(from));
  Result<Side> new_side = fail(Code::internal);
  if (options.to_version != 0) {
    const auto& path = options.to.empty() ? from.place.file : options.to;
    LINKSPAN_TRY(const auto to, find_past_version(path, options.to_version));
    new_side = side_of(to);
  } else {
    new_side = options.to.empty() ? side_of_file(from.place.file) : side(options.to);
  }
  if (!new_side.ok()) return new_side.error();
  const bool colours = coloured(1, Colour::bold, "x") != "x";
  LINKSPAN_TRY(const auto text,
               unified_diff(old_side.name, old_side.text, new_side->name, new_side->text, colours));
  LINKSPAN_CHECK(write_all(STDOUT_FILENO, text));
  return text.empty() ? kSame : kDiffer;
}

}  // namespace

int diff_command(const DiffOptions& options) {
  const RouterWatch watch(options.from, kTrouble);
  const auto compared = compare(options);
  if (compared.ok()) return *compared;
  complain(watch.explain(compared.error()));
  return kTrouble;
}

}  // namespace linkspan::cli
