#include "fusefs/fuse/control_fs.h"

#include <fcntl.h>

#include <cerrno>
#include <ctime>

#include "fusefs/fuse/dir_buffer.h"
#include "fusefs/fuse/request.h"

namespace linkspan::fuse {

namespace {
// The tree never changes; mounts stand on its directories, and a mountpoint whose name the kernel
// gives up takes the mount with it.
constexpr double kForever = 365 * 86400.0;  // seconds
}  // namespace

ControlTree::ControlTree() : nodes_(1) {}

size_t ControlTree::make(const std::string& path) {
  size_t at = 0;
  for (size_t begin = 0; begin < path.size();) {
    size_t end = std::min(path.find('/', begin), path.size());
    std::string name = path.substr(begin, end - begin);
    begin = end + 1;
    if (name.empty()) continue;
    auto [it, is_new] = nodes_[at].children.emplace(name, nodes_.size());
    size_t child = it->second;
    if (is_new) {
      nodes_.emplace_back();  // `it` stays valid only until here: the vector moves
      nodes_[child].parent = at;
    }
    at = child;
  }
  return at;
}

void ControlTree::add_directory(const std::string& path, bool writable_mode) {
  Node& node = nodes_[make(path)];
  node.type = Type::directory;
  node.writable_mode = writable_mode;
}

void ControlTree::add_file(const std::string& path, Content content) {
  Node& node = nodes_[make(path)];
  node.type = Type::file;
  node.content = std::move(content);
}

void ControlTree::add_symlink(const std::string& path, const std::string& target) {
  Node& node = nodes_[make(path)];
  node.type = Type::symlink;
  node.target = target;
}

class ControlOperations final : public Operations {
 public:
  ControlOperations(ControlTree tree, ControlOptions options)
      : tree_(std::move(tree)), options_(options) {
    clock_gettime(CLOCK_REALTIME, &started_);
    fill_table();
  }
  const fuse_lowlevel_ops& table() const override { return table_; }
  void configure(fuse_conn_info* info) override {
    info->want |= info->capable &
                  (FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
  }

 private:
  using Type = ControlTree::Type;
  using Node = ControlTree::Node;

  static ControlOperations& of(const Request& r) {
    return static_cast<ControlOperations&>(*r.session().operations);
  }
  const Node& node(fuse_ino_t ino) const { return tree_.nodes_.at(ino - FUSE_ROOT_ID); }
  static fuse_ino_t ino_of(size_t index) { return index + FUSE_ROOT_ID; }

  struct stat stat_of(fuse_ino_t ino) const;
  fuse_entry_param entry_of(fuse_ino_t ino) const;
  double attr_timeout(fuse_ino_t ino) const { return node(ino).type == Type::file ? 0 : kForever; }

  static void on_lookup(fuse_req_t raw, fuse_ino_t parent, const char* name);
  static void on_getattr(fuse_req_t raw, fuse_ino_t ino, fuse_file_info*);
  static void on_open(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* file);
  static void on_read(fuse_req_t raw, fuse_ino_t, size_t size, off_t offset, fuse_file_info* file);
  static void on_release(fuse_req_t raw, fuse_ino_t, fuse_file_info* file);
  static void list(Request& r, fuse_ino_t ino, size_t size, off_t offset, bool plus);
  void fill_table();
  void refuse_changes();

  const ControlTree tree_;
  const ControlOptions options_;
  timespec started_;
  fuse_lowlevel_ops table_ = {};
};

struct stat ControlOperations::stat_of(fuse_ino_t ino) const {
  const Node& n = node(ino);
  struct stat st = {};
  st.st_ino = ino;
  st.st_uid = options_.uid;
  st.st_gid = options_.gid;
  st.st_blksize = 4096;
  st.st_nlink = 1;
  st.st_atim = st.st_mtim = st.st_ctim = started_;
  switch (n.type) {
    case Type::directory:
      st.st_mode = S_IFDIR | (n.writable_mode ? 0755 : 0555);
      st.st_nlink = 2;
      for (const auto& [name, child] : n.children)
        if (tree_.nodes_[child].type == Type::directory) ++st.st_nlink;
      break;
    case Type::file:
      st.st_mode = S_IFREG | 0444;
      st.st_size = static_cast<off_t>(n.content().size());
      clock_gettime(CLOCK_REALTIME, &st.st_mtim);
      st.st_ctim = st.st_mtim;
      break;
    case Type::symlink:
      st.st_mode = S_IFLNK | 0777;
      st.st_size = static_cast<off_t>(n.target.size());
      break;
  }
  st.st_blocks = (st.st_size + 511) / 512;
  return st;
}

fuse_entry_param ControlOperations::entry_of(fuse_ino_t ino) const {
  fuse_entry_param entry = {};
  entry.ino = ino;
  entry.attr = stat_of(ino);
  entry.entry_timeout = kForever;
  entry.attr_timeout = attr_timeout(ino);
  return entry;
}

void ControlOperations::on_lookup(fuse_req_t raw, fuse_ino_t parent, const char* name) {
  serve(raw, "control lookup", [&](Request& r) {
    auto& o = of(r);
    const auto& children = o.node(parent).children;
    auto it = children.find(name);
    if (it == children.end())
      r.error(ENOENT);
    else
      r.entry(o.entry_of(ino_of(it->second)));
  });
}

void ControlOperations::on_getattr(fuse_req_t raw, fuse_ino_t ino, fuse_file_info*) {
  serve(raw, "control getattr",
        [&](Request& r) { r.attributes(of(r).stat_of(ino), of(r).attr_timeout(ino)); });
}

// The content is made here, whole, so that one reader sees one state.
void ControlOperations::on_open(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* file) {
  serve(raw, "control open", [&](Request& r) {
    if ((file->flags & O_ACCMODE) != O_RDONLY || (file->flags & O_TRUNC)) {
      r.error(EROFS);
      return;
    }
    auto content = std::make_unique<std::string>(of(r).node(ino).content());
    fuse_file_info reply = {};
    reply.fh = reinterpret_cast<uintptr_t>(content.get());
    reply.direct_io = 1;  // the size at stat does not cut what is read; no page outlives the handle
    reply.noflush = 1;
    if (r.opened(reply)) content.release();  // owned by the handle until on_release
  });
}

void ControlOperations::on_read(fuse_req_t raw, fuse_ino_t, size_t size, off_t offset,
                                fuse_file_info* file) {
  serve(raw, "control read", [&](Request& r) {
    const auto& content = *reinterpret_cast<const std::string*>(file->fh);
    size_t at = std::min(static_cast<size_t>(offset), content.size());
    r.bytes(std::string_view(content).substr(at, size));
  });
}

void ControlOperations::on_release(fuse_req_t raw, fuse_ino_t, fuse_file_info* file) {
  serve(raw, "control release", [&](Request& r) {
    delete reinterpret_cast<std::string*>(file->fh);
    r.done();
  });
}

void ControlOperations::list(Request& r, fuse_ino_t ino, size_t size, off_t offset, bool plus) {
  auto& o = of(r);
  const Node& n = o.node(ino);
  std::vector<std::pair<std::string, fuse_ino_t>> entries{{".", ino}, {"..", ino_of(n.parent)}};
  for (const auto& [name, child] : n.children) entries.emplace_back(name, ino_of(child));
  DirBuffer buffer(r.raw(), size, plus);
  for (size_t i = static_cast<size_t>(offset); i < entries.size(); ++i) {
    fuse_entry_param entry = o.entry_of(entries[i].second);
    if (i < 2) entry.ino = 0;
    if (!buffer.add(entries[i].first, entry, i + 1)) break;
  }
  r.bytes(buffer.data());
}

void ControlOperations::fill_table() {
  table_.lookup = on_lookup;
  table_.getattr = on_getattr;
  table_.open = on_open;
  table_.read = on_read;
  table_.release = on_release;
  table_.readlink = [](fuse_req_t raw, fuse_ino_t ino) {
    serve(raw, "control readlink", [&](Request& r) { r.link_target(of(r).node(ino).target); });
  };
  table_.readdir = [](fuse_req_t raw, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info*) {
    serve(raw, "control readdir", [&](Request& r) { list(r, ino, size, offset, false); });
  };
  table_.readdirplus = [](fuse_req_t raw, fuse_ino_t ino, size_t size, off_t offset,
                          fuse_file_info*) {
    serve(raw, "control readdirplus", [&](Request& r) { list(r, ino, size, offset, true); });
  };
  table_.statfs = [](fuse_req_t raw, fuse_ino_t) {
    serve(raw, "control statfs", [&](Request& r) {
      struct statvfs st = {};
      st.f_bsize = st.f_frsize = 4096;
      st.f_files = of(r).tree_.nodes_.size();
      st.f_namemax = 255;
      r.filesystem(st);
    });
  };
  refuse_changes();
}

// Without these the kernel would say ENOSYS, which names nothing.
void ControlOperations::refuse_changes() {
  table_.setattr = [](fuse_req_t raw, fuse_ino_t, struct stat*, int, fuse_file_info*) {
    fuse_reply_err(raw, EROFS);
  };
  table_.mknod = [](fuse_req_t raw, fuse_ino_t, const char*, mode_t, dev_t) {
    fuse_reply_err(raw, EROFS);
  };
  table_.mkdir = [](fuse_req_t raw, fuse_ino_t, const char*, mode_t) {
    fuse_reply_err(raw, EROFS);
  };
  table_.unlink = [](fuse_req_t raw, fuse_ino_t, const char*) { fuse_reply_err(raw, EROFS); };
  table_.rmdir = [](fuse_req_t raw, fuse_ino_t, const char*) { fuse_reply_err(raw, EROFS); };
  table_.symlink = [](fuse_req_t raw, const char*, fuse_ino_t, const char*) {
    fuse_reply_err(raw, EROFS);
  };
  table_.rename = [](fuse_req_t raw, fuse_ino_t, const char*, fuse_ino_t, const char*, unsigned) {
    fuse_reply_err(raw, EROFS);
  };
  table_.link = [](fuse_req_t raw, fuse_ino_t, fuse_ino_t, const char*) {
    fuse_reply_err(raw, EROFS);
  };
  table_.create = [](fuse_req_t raw, fuse_ino_t, const char*, mode_t, fuse_file_info*) {
    fuse_reply_err(raw, EROFS);
  };
}

std::unique_ptr<Operations> make_control_operations(ControlTree tree, ControlOptions options) {
  return std::make_unique<ControlOperations>(std::move(tree), options);
}

}  // namespace linkspan::fuse
