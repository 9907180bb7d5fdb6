#include "routerd/core/merge.h"

#include <git2.h>

#include <algorithm>
#include <set>
#include <vector>

namespace linkspan::core {
namespace {

constexpr size_t kBinaryProbe = 8 << 10;  // bytes

// libgit2 counts how often it is initialised; once, for the life of the process, is enough.
void use_libgit2() {
  static const int initialised = git_libgit2_init();
  (void)initialised;
}

// How a text ends its lines, by its last line end; nothing if it has none.
std::optional<std::string_view> line_end(std::string_view text) {
  const size_t at = text.rfind('\n');
  if (at == std::string_view::npos) return std::nullopt;
  return at > 0 && text[at - 1] == '\r' ? "\r\n" : "\n";
}

// For those of the three that are one line without an end.
std::string_view common_line_end(std::string_view base, std::string_view head,
                                 std::string_view mine) {
  if (const auto end = line_end(base)) return *end;
  const auto heads = line_end(head), mines = line_end(mine);
  if (heads && mines && *heads != *mines) return "\n";
  return heads ? *heads : mines.value_or("\n");
}

// A text as lines that all end in a newline.
struct Lines {
  std::string text;
  std::vector<size_t> starts;  // of each line, and the end of the last
  bool newline_at_end = true;

  // `otherwise`: how to end a last line that is the only one.
  Lines(std::string_view from, std::string_view otherwise) : text(from) {
    if (!text.empty() && text.back() != '\n') {
      newline_at_end = false;
      text += line_end(from).value_or(otherwise);
    }
    starts.push_back(0);
    for (size_t i = 0; i < text.size(); ++i)
      if (text[i] == '\n') starts.push_back(i + 1);
  }
  size_t count() const { return starts.size() - 1; }
  std::string_view range(size_t begin, size_t end) const {
    return std::string_view(text).substr(starts[begin], starts[end] - starts[begin]);
  }
};

// Lines [begin, end) of the old text became lines [new_begin, new_end) of the new one.
struct Edit {
  size_t begin, end, new_begin, new_end;
  bool inserts() const { return begin == end; }
};
using Edits = std::vector<Edit>;

int collect(const git_diff_delta*, const git_diff_hunk* hunk, void* edits) {
  // An empty side is numbered by the line before it, counted from 1; others by their first line.
  const auto first = [](int start, int lines) {
    return static_cast<size_t>(lines == 0 ? start : start - 1);
  };
  const size_t begin = first(hunk->old_start, hunk->old_lines);
  const size_t new_begin = first(hunk->new_start, hunk->new_lines);
  static_cast<Edits*>(edits)->push_back({begin, begin + static_cast<size_t>(hunk->old_lines),
                                         new_begin,
                                         new_begin + static_cast<size_t>(hunk->new_lines)});
  return 0;
}

std::optional<Edits> diff(std::string_view from, std::string_view to) {
  git_diff_options options = GIT_DIFF_OPTIONS_INIT;
  options.context_lines = 0;
  options.interhunk_lines = 0;
  options.flags = GIT_DIFF_FORCE_TEXT;
  Edits edits;
  if (git_diff_buffers(from.data(), from.size(), nullptr, to.data(), to.size(), nullptr, &options,
                       nullptr, nullptr, collect, nullptr, &edits) != 0)
    return std::nullopt;
  return edits;
}

bool says_something(std::string_view line) {
  return std::any_of(line.begin(), line.end(), [](unsigned char c) {
    return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  });
}

bool says_something(const Lines& text, size_t begin, size_t end) {
  for (; begin < end; ++begin)
    if (says_something(text.range(begin, begin + 1))) return true;
  return false;
}

// How many lines that end the first text begin the second. None that say nothing.
size_t overlap(const Lines& first, const Lines& second) {
  for (size_t n = std::min(first.count(), second.count()); n > 0; --n)
    if (first.range(first.count() - n, first.count()) == second.range(0, n))
      return says_something(second, 0, n) ? n : 0;
  return 0;
}

// How many lines both begin with: a heading. Not what begins a block that both end alike, too.
size_t common_begin(const Lines& first, const Lines& second) {
  const auto last = [](const Lines& of) { return of.range(of.count() - 1, of.count()); };
  if (last(first) == last(second) &&
      last(first).find_first_not_of(" \t\r\n") != std::string_view::npos)
    return 0;
  size_t n = 0;
  const size_t most = std::min(first.count(), second.count());
  while (n < most && first.range(n, n + 1) == second.range(n, n + 1)) ++n;
  return says_something(first, 0, n) ? n : 0;
}

bool has_all(const Lines& of, const Lines& in) {
  size_t found = 0;
  for (size_t i = 0; i < in.count() && found < of.count(); ++i)
    found += in.range(i, i + 1) == of.range(found, found + 1);
  return found == of.count();
}

// Two additions at one place, one behind the other, each whole. Only what both begin with stands
// once (a heading), what the one ends and the other begins with, and the one if the other has all
// of its lines in their order. Lines that they happen to share otherwise belong to both.
std::string join(std::string_view first, std::string_view second) {
  const Lines firsts(first, "\n"), seconds(second, "\n");  // whole lines: both end in a newline
  if (has_all(firsts, seconds)) return seconds.text;
  if (has_all(seconds, firsts)) return firsts.text;
  const auto rest = [](const Lines& of, size_t begin) {
    return std::string(of.range(begin, of.count()));
  };
  if (const size_t n = overlap(firsts, seconds)) return firsts.text + rest(seconds, n);
  if (const size_t n = overlap(seconds, firsts)) return seconds.text + rest(firsts, n);
  return firsts.text + rest(seconds, common_begin(firsts, seconds));
}

// One that says something.
bool share_a_line(std::string_view one, std::string_view other) {
  const Lines ones(one, "\n"), others(other, "\n");
  std::set<std::string_view> seen;
  for (size_t i = 0; i < ones.count(); ++i)
    if (says_something(ones.range(i, i + 1))) seen.insert(ones.range(i, i + 1));
  for (size_t i = 0; i < others.count(); ++i)
    if (seen.count(others.range(i, i + 1)) != 0) return true;
  return false;
}

class Merge {
 public:
  Merge(const Lines& base, const Lines& head, const Lines& mine, const Edits& head_edits,
        const Edits& mine_edits)
      : base_(base), head_{head, head_edits}, mine_{mine, mine_edits} {}

  std::optional<std::string> run() {
    while (head_.next() || mine_.next()) {
      const Edit *h = head_.next(), *m = mine_.next();
      bool merged;
      if (!m || (h && before(*h, *m)))
        merged = apply(head_, mine_);
      else if (!h || before(*m, *h))
        merged = apply(mine_, head_);
      else
        merged = apply_both(*h, *m);
      if (!merged) return std::nullopt;
    }
    out_ += base_.range(at_, base_.count());
    return std::move(out_);
  }

 private:
  struct Side {
    const Lines& lines;
    const Edits& edits;
    size_t at = 0;
    const Edit* next() const { return at < edits.size() ? &edits[at] : nullptr; }
    std::string_view text(const Edit& edit) const {
      return lines.range(edit.new_begin, edit.new_end);
    }
  };

  // `a` is done with where `b` begins. Two additions at one place are not before each other.
  static bool before(const Edit& a, const Edit& b) {
    return a.end <= b.begin && !(a.inserts() && b.inserts() && a.begin == b.begin);
  }
  // The next edit of `first`, which is before that of `second`. Where they touch, both may have
  // added the same lines there, though one of them has replaced what stands beside: those are one
  // addition.
  bool apply(Side& first, Side& second) {
    const Edit& edit = *first.next();
    ++first.at;
    const std::string_view text = first.text(edit);
    const Edit* other = second.next();
    if (!other || edit.end != other->begin) return put(edit, text);
    const std::string_view others = second.text(*other);
    if (!share_a_line(text, others)) return put(edit, text);
    if (!edit.inserts() && !other->inserts()) return false;
    ++second.at;
    // What touches the pair's other end, too, would have to be looked for in both.
    if (first.next() && first.next()->begin <= other->end) return false;
    return put({edit.begin, other->end, 0, 0}, join(text, others));
  }
  bool apply_both(const Edit& head, const Edit& mine) {
    if (head.begin != mine.begin || head.end != mine.end) return false;
    const std::string_view heads = head_.text(head), mines = mine_.text(mine);
    if (heads != mines && !head.inserts()) return false;
    ++head_.at;
    ++mine_.at;
    return put(head, heads == mines ? std::string(heads) : join(heads, mines));
  }
  bool put(const Edit& edit, std::string_view text) {
    if (edit.begin < at_) return false;
    out_ += base_.range(at_, edit.begin);
    out_ += text;
    at_ = edit.end;
    return true;
  }

  const Lines& base_;
  Side head_, mine_;
  std::string out_;
  size_t at_ = 0;  // lines of base that are dealt with
};

// Not that of an empty line, which is all that there is of it.
void cut_last_newline(std::string& text) {
  const size_t length = *line_end(text) == "\n" ? 1 : 2;
  if (text.size() > length && text[text.size() - length - 1] != '\n')
    text.resize(text.size() - length);
}

}  // namespace

std::optional<std::string> merge3(std::string_view base, std::string_view head,
                                  std::string_view mine) {
  if (head == mine || mine == base) return std::string(head);
  if (head == base) return std::string(mine);
  use_libgit2();
  const std::string_view end = common_line_end(base, head, mine);
  const Lines b(base, end), h(head, end), m(mine, end);
  const auto head_edits = diff(b.text, h.text);
  const auto mine_edits = diff(b.text, m.text);
  if (!head_edits || !mine_edits) return std::nullopt;
  auto merged = Merge(b, h, m, *head_edits, *mine_edits).run();
  if (!merged || merged->empty()) return merged;
  const bool newline = h.newline_at_end == b.newline_at_end ? m.newline_at_end : h.newline_at_end;
  if (!newline) cut_last_newline(*merged);
  return merged;
}

bool looks_binary(std::string_view content) {
  return content.substr(0, kBinaryProbe).find('\0') != std::string_view::npos;
}

}  // namespace linkspan::core
