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

bool is_something_at(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0;
}

// The file as it is now; where nothing is, as it was last.
Result<Side> last_side(const PastVersion& from) {
  if (!from.deletion || is_something_at(from.place.file)) return side_of_file(from.place.file);
  PastVersion last = from;
  last.version = from.after ? from.after->version : from.deletion->version;
  return side_of(last);
}

// `which` is said of the names that the older one has.
Result<Side> side(const DiffOptions& options, const PastVersion& from) {
  const std::string& text = options.to.empty() ? from.place.file : options.to;
  const auto named = parse_path_version(text);
  const bool plain =
      options.to_version == 0 && (options.to.empty() || !named.version ||
                                  (!is_something_at(named.path) && is_something_at(text)));
  if (plain) return options.to.empty() ? last_side(from) : side_of_file(text);
  const auto place = locate(options.to_version == 0 ? named.path : text);
  const bool same = place.ok() && place->file == from.place.file;
  LINKSPAN_TRY(const auto past,
               find_past_version(text, options.to_version, same ? options.which : WhichFile{}));
  return side_of(past);
}

Result<int> compare(const DiffOptions& options) {
  LINKSPAN_TRY(const auto from,
               find_past_version(options.from, options.from_version, options.which));
  LINKSPAN_TRY(const auto old_side, side_of(from));
  const Result<Side> new_side = side(options, from);
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
