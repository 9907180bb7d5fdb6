#include "fusefs/cli/patch.h"

#include <git2.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "fusefs/cli/mount_report.h"

namespace linkspan::cli {

namespace {

constexpr uint32_t kContextLines = 3;

// What would do a terminal harm, or tell a person nothing. Text in another encoding than UTF-8 has
// no control characters but those of text.
bool is_binary(const std::string& bytes) {
  const auto control = [](unsigned char c) {
    return (c < 0x20 || c == 0x7F) && std::strchr("\b\t\n\v\f\r\033", c) == nullptr;
  };
  if (bytes.find('\0') != std::string::npos) return true;
  return !is_utf8(bytes) && std::any_of(bytes.begin(), bytes.end(), control);
}

struct Printer {
  std::string text;
  bool colours = false;

  void add(const char* code, const std::string& line) {
    if (!colours || !*code) {
      text += line;
      return;
    }
    const bool ends = !line.empty() && line.back() == '\n';
    text += "\033[" + std::string(code) + "m" + (ends ? line.substr(0, line.size() - 1) : line) +
            "\033[m" + (ends ? "\n" : "");
  }
};

int on_line(const git_diff_delta*, const git_diff_hunk*, const git_diff_line* line, void* payload) {
  auto& printer = *static_cast<Printer*>(payload);
  const std::string content(line->content, line->content_len);
  switch (line->origin) {
    case GIT_DIFF_LINE_FILE_HDR:  // of git's own form; ours names the versions
      break;
    case GIT_DIFF_LINE_HUNK_HDR:
      printer.add("36", content);
      break;
    case GIT_DIFF_LINE_ADDITION:
      printer.add("32", "+" + content);
      break;
    case GIT_DIFF_LINE_DELETION:
      printer.add("31", "-" + content);
      break;
    case GIT_DIFF_LINE_CONTEXT:
      printer.add("", " " + content);
      break;
    default:  // "\ No newline at end of file"
      printer.add("", content);
  }
  return 0;
}

Error trouble() {
  const git_error* error = git_error_last();
  return fail(Code::internal, std::string("libgit2: ") + (error ? error->message : "failed"));
}

}  // namespace

Result<std::string> unified_diff(const std::string& old_name, const std::string& old_text,
                                 const std::string& new_name, const std::string& new_text,
                                 bool colours) {
  if (old_text == new_text) return std::string();
  if (is_binary(old_text) || is_binary(new_text))
    return "Binary files " + old_name + " and " + new_name + " differ\n";
  static const int initialised = git_libgit2_init();
  if (initialised < 0) return trouble();
  git_diff_options options;
  git_diff_options_init(&options, GIT_DIFF_OPTIONS_VERSION);
  options.context_lines = kContextLines;
  options.flags |= GIT_DIFF_FORCE_TEXT;  // which is text was decided above
  git_patch* raw = nullptr;
  if (git_patch_from_buffers(&raw, old_text.data(), old_text.size(), "old", new_text.data(),
                             new_text.size(), "new", &options) != 0)
    return trouble();
  const std::unique_ptr<git_patch, void (*)(git_patch*)> patch(raw, git_patch_free);
  Printer printer;
  printer.colours = colours;
  if (git_patch_print(patch.get(), on_line, &printer) != 0) return trouble();
  Printer header;
  header.colours = colours;
  header.add("1", "--- " + old_name + "\n");
  header.add("1", "+++ " + new_name + "\n");
  return header.text + printer.text;
}

}  // namespace linkspan::cli
