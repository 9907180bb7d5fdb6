// linkspan resolve
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "fusefs/cli/commands.h"
#include "fusefs/cli/conflict_choice.h"
#include "fusefs/cli/console.h"
#include "fusefs/cli/mount_report.h"
#include "fusefs/cli/rewrite.h"
#include "fusefs/cli/router_watch.h"
#include "fusefs/cli/system.h"

namespace linkspan::cli {

namespace {

constexpr size_t kPiece = 128 << 10;

Status copy(int from, const Sink& to, const std::string& name) {
  for (;;) {
    std::string buffer(kPiece, '\0');
    const ssize_t n = ::read(from, buffer.data(), buffer.size());
    if (n < 0) return system_error(name, errno);
    if (n == 0) return ok();
    buffer.resize(static_cast<size_t>(n));
    LINKSPAN_CHECK(to(buffer));
  }
}

std::string name_of(const std::string& merged) {
  return merged == "-" ? "standard input" : printable(merged);
}

Status write_merged(const std::string& merged, const FoundConflict& found, Version over) {
  UniqueFd from;
  if (merged != "-") {
    from.reset(::open(merged.c_str(), O_RDONLY | O_CLOEXEC));
    if (!from) return system_error(merged, errno);
  }
  Rewrite what;
  what.path = found.file;
  what.origin = {Origin::Kind::merged, found.conflict.number.value};
  what.fill = [&](const Sink& sink) {
    return copy(from ? from.get() : STDIN_FILENO, sink, name_of(merged));
  };
  return save_over(found, over, std::move(what));
}

}  // namespace

int resolve_command(const ResolveOptions& options) {
  if (options.ours + options.theirs + !options.merged.empty() != 1) {
    complain(
        "say what the file shall be: --ours (as it is), --theirs (what was refused) or "
        "--merged FILE; see: linkspan resolve --help");
    return kUsage;
  }
  if (options.ours && options.over != 0) {
    complain("--over goes with --theirs or --merged: --ours replaces nothing");
    return kUsage;
  }
  const Version over{options.over};
  RouterWatch watch(options.mount);
  const auto found = find_conflict(options.mount, options.conflict);
  if (!found.ok()) return complain(watch.explain(found.error()));
  watch.stop();
  const std::string file = printable(found->file);
  std::string did = file + " stays as it is";
  Status done = ok();
  if (options.theirs) {
    done = save_over(*found, over, theirs(*found));
    did = file + " has what was refused, as a new version";
  } else if (!options.merged.empty()) {
    done = write_merged(options.merged, *found, over);
    did = file + " has what came from " + name_of(options.merged) + ", as a new version";
  }
  if (done.ok()) done = settle(*found);
  if (!done.ok()) return complain(watch.explain(done.error()));
  say("conflict " + std::to_string(found->conflict.number.value) + " is settled: " + did);
  return kSuccess;
}

}  // namespace linkspan::cli
