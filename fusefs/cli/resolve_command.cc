// linkspan resolve
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

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

// All of them, before any is settled; each once, the oldest first.
Result<std::vector<FoundConflict>> find_all(const ResolveOptions& options) {
  std::vector<FoundConflict> all;
  for (const std::string& name : options.conflicts) {
    LINKSPAN_TRY(FoundConflict found, find_conflict(options.mount, name));
    all.push_back(std::move(found));
  }
  const auto number = [](const FoundConflict& found) { return found.conflict.number; };
  std::sort(all.begin(), all.end(),
            [&](const auto& a, const auto& b) { return number(a) < number(b); });
  const auto same = [&](const auto& a, const auto& b) { return number(a) == number(b); };
  all.erase(std::unique(all.begin(), all.end(), same), all.end());
  return all;
}

// What cannot be one content for all of them.
Status check_one_file(const ResolveOptions& options, const std::vector<FoundConflict>& all) {
  if (options.ours || all.size() == 1) return ok();
  if (options.theirs)
    return fail(Code::invalid,
                "--theirs takes one conflict: each of these " + std::to_string(all.size()) +
                    " has a text of its own; take one, then settle the others with --ours");
  for (const FoundConflict& each : all)
    if (each.file != all.front().file)
      return fail(Code::invalid, "--merged is the content of one file, and conflict " +
                                     std::to_string(all.front().conflict.number.value) + " is of " +
                                     printable(all.front().file) + ", conflict " +
                                     std::to_string(each.conflict.number.value) + " of " +
                                     printable(each.file));
  return ok();
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
  const auto all = find_all(options);
  if (!all.ok()) return complain(watch.explain(all.error()));
  if (const Status one = check_one_file(options, *all); !one.ok()) {
    complain(one.error().message);
    return kUsage;
  }
  watch.stop();
  // Held against the newest: the others were refused against older versions of the file.
  const FoundConflict& newest = all->back();
  Status done = ok();
  if (options.theirs)
    done = save_over(newest, over, theirs(newest));
  else if (!options.merged.empty())
    done = write_merged(options.merged, newest, over);
  for (const FoundConflict& found : *all) {
    if (done.ok()) done = settle(found);
    if (!done.ok()) return complain(watch.explain(done.error()));
    std::string is = " stays as it is";
    if (options.theirs)
      is = " has what was refused, as a new version";
    else if (!options.merged.empty())
      is = " has what came from " + name_of(options.merged) + ", as a new version";
    say("conflict " + std::to_string(found.conflict.number.value) +
        " is settled: " + printable(found.file) + is);
  }
  return kSuccess;
}

}  // namespace linkspan::cli
