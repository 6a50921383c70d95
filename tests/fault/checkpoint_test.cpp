// Jobs that save while things go wrong: whenever ranks are killed, disks fill up or folders vanish, the newest
// checkpoint that is there is whole, and the next run goes on from it. And jobs where nothing does: resuming is exact.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>
#include <thread>

#include "tests/support/run_program.h"
#include "tests/support/runs_all.h"
#include "tests/support/tiny_job.h"
#include "titan/checkpoint/checkpoint_folder.h"
#include "titan/checkpoint/inspect.h"

namespace titan {
namespace {

using checkpoint::CheckpointFolder;
using test::Finished;
using test::OutputFolder;
using Strings = std::vector<std::string>;

Strings job(const std::filesystem::path& dump_folder, int64_t num_ranks, const Strings& flags) {
  Strings all{"--checkpoint.enable",          "--checkpoint.no-last_save_model_only", "--model.args.n_heads=4",
              "--model.args.n_kv_heads=2",    "--training.global_batch_size=12",      "--training.local_batch_size=1",
              "--lr_scheduler.total_steps=10"};
  all.insert(all.end(), flags.begin(), flags.end());
  Strings argv = test::tiny_job(TITAN_BINARY, dump_folder, all);
  if (num_ranks > 1) {
    const Strings launch{"launch", "--nproc-per-node=" + std::to_string(num_ranks), "--"};
    argv.insert(argv.begin() + 1, launch.begin(), launch.end());
  }
  return argv;
}

Finished run(const std::filesystem::path& dump_folder, int64_t num_ranks, const Strings& flags) {
  return test::run_program(job(dump_folder, num_ranks, flags), {.environment = {{"OMP_NUM_THREADS", "1"}}});
}

std::vector<int64_t> steps_in(const std::filesystem::path& dump_folder) {
  return CheckpointFolder(dump_folder / "checkpoint").steps();
}

struct Technique {
  std::string name;
  int64_t num_ranks;
  Strings flags;
};

Strings joined(Strings a, const Strings& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Strings degrees(int64_t replicate, int64_t shard, int64_t tp) {
  return {"--parallelism.data_parallel_replicate_degree=" + std::to_string(replicate),
          "--parallelism.data_parallel_shard_degree=" + std::to_string(shard),
          "--parallelism.tensor_parallel_degree=" + std::to_string(tp)};
}

std::vector<Technique> techniques() {
  std::vector<Technique> all{{"fsdp3", 3, degrees(1, 3, 1)}, {"fsdp2_tp2", 4, degrees(1, 2, 2)}};
  if (test::runs_all()) {
    all.push_back({"ddp2", 2, degrees(2, 1, 1)});
    all.push_back({"hsdp2_2", 4, degrees(2, 2, 1)});
    all.push_back({"tp2", 2, degrees(1, 1, 2)});
    const Strings pp{"--parallelism.pipeline_parallel_degree=2", "--parallelism.pipeline_parallel_schedule=1F1B",
                     "--training.local_batch_size=4"};
    all.push_back({"pp2", 2, joined(degrees(1, 1, 1), pp)});
    all.push_back({"cp2", 2, joined(degrees(1, 1, 1), {"--parallelism.context_parallel_degree=2"})});
    Strings all_of_them = joined(degrees(1, 1, 2), pp);
    all_of_them.emplace_back("--parallelism.context_parallel_degree=2");
    all.push_back({"cp2_tp2_pp2", 8, all_of_them});
    all.push_back({"hsdp2_2_tp2", 8, degrees(2, 2, 2)});
  }
  return all;
}

void expect_same_steps(const std::filesystem::path& whole, const std::filesystem::path& parts, double tolerance) {
  const auto expected = test::logged_steps(whole), got = test::logged_steps(parts);
  ASSERT_EQ(expected.size(), 10u);
  ASSERT_EQ(got.size(), 10u);
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_NEAR(got[i].loss, expected[i].loss, tolerance * expected[i].loss) << "step " << i + 1;
    if (tolerance == 0) {
      EXPECT_EQ(got[i].grad_norm, expected[i].grad_norm) << "step " << i + 1;
    }
  }
}

// 10 steps are 5, a save, a load and 5, to the last bit of weights, optimizer and counters; and the same checkpoint
// goes on at every other layout as it would have at its own.
TEST(CheckpointResume, IsExactAndFreeOfTheLayout) {
  const OutputFolder first_half;
  for (const Technique& technique : techniques()) {
    const OutputFolder whole, parts;
    Strings five = joined(technique.flags, {"--training.steps=5", "--checkpoint.async_mode=async"});
    ASSERT_EQ(run(whole.path(), technique.num_ranks, technique.flags).exit_code, 0) << technique.name;
    ASSERT_EQ(run(parts.path(), technique.num_ranks, five).exit_code, 0) << technique.name;
    const OutputFolder elsewhere;
    std::filesystem::copy(parts.path(), elsewhere.path(), std::filesystem::copy_options::recursive);
    const Finished resumed = run(parts.path(), technique.num_ranks, technique.flags);
    ASSERT_EQ(resumed.exit_code, 0) << technique.name << resumed.err;
    EXPECT_NE(resumed.out.find("Training starts at step 6"), std::string::npos) << resumed.out;
    expect_same_steps(whole.path(), parts.path(), 0);
    EXPECT_EQ(checkpoint::differences(parts.path() / "checkpoint/step-10", whole.path() / "checkpoint/step-10"),
              Strings{})
        << technique.name;

    const Finished on_one = run(elsewhere.path(), 1, {});
    ASSERT_EQ(on_one.exit_code, 0) << technique.name << on_one.err;
    expect_same_steps(whole.path(), elsewhere.path(), 1e-5);
  }
}

// What data.log_samples wrote: of each step, the samples of all ranks, sorted.
std::map<int64_t, std::vector<int64_t>> logged_samples(const std::filesystem::path& dump_folder) {
  std::map<int64_t, std::vector<int64_t>> by_step;
  for (const auto& entry : std::filesystem::directory_iterator(dump_folder / "samples")) {
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      const auto step = nlohmann::json::parse(line);
      const auto samples = step.at("samples").get<std::vector<int64_t>>();
      std::vector<int64_t>& all = by_step[step.at("step").get<int64_t>()];
      all.insert(all.end(), samples.begin(), samples.end());
    }
  }
  for (auto& [step, samples] : by_step) std::sort(samples.begin(), samples.end());
  return by_step;
}

// A run that goes on at other data-parallel degrees, once from before its last step, is trained on the samples of the
// global order: none twice, none left out.
TEST(CheckpointResume, SkipsAndRepeatsNoSampleAtAnotherDataParallelDegree) {
  const OutputFolder folder;
  const Strings log{"--data.log_samples", "--checkpoint.interval=2"};
  ASSERT_EQ(run(folder.path(), 3, joined(joined(degrees(1, 3, 1), log), {"--training.steps=4"})).exit_code, 0);
  ASSERT_EQ(run(folder.path(), 4, joined(joined(degrees(1, 2, 2), log), {"--training.steps=7"})).exit_code, 0);
  std::filesystem::remove_all(folder.path() / "checkpoint/step-7");  // so step 7 is run again
  ASSERT_EQ(run(folder.path(), 2, joined(degrees(2, 1, 1), log)).exit_code, 0);

  const auto samples = logged_samples(folder.path());
  ASSERT_EQ(samples.size(), 10u);
  for (int64_t step = 1; step <= 10; ++step) {
    std::vector<int64_t> expected(12);
    std::iota(expected.begin(), expected.end(), 12 * (step - 1));
    EXPECT_EQ(samples.at(step), expected) << "step " << step;
  }
}

// A job that is not waited for.
class RunningJob {
 public:
  explicit RunningJob(const Strings& argv) {
    pid_ = fork();
    if (pid_ != 0) return;
    const int null = ::open("/dev/null", O_WRONLY);
    dup2(null, 1);
    dup2(null, 2);
    setenv("OMP_NUM_THREADS", "1", 1);
    std::vector<char*> arguments;
    for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  // Ends the job if nobody else has: its ranks die with the launcher.
  ~RunningJob() {
    if (pid_ > 0) kill_all();
    wait();
  }
  RunningJob(const RunningJob&) = delete;
  RunningJob& operator=(const RunningJob&) = delete;

  void kill_all() const { kill(pid_, SIGKILL); }
  // One of the ranks, by number. Says whether there is any.
  [[nodiscard]] bool kill_rank(unsigned index) const {
    std::vector<pid_t> ranks;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string pid = entry.path().filename().string();
      if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
      std::ifstream stat(entry.path() / "stat");
      const std::string text((std::istreambuf_iterator<char>(stat)), {});
      const size_t end_of_name = text.rfind(')');
      if (end_of_name == std::string::npos) continue;
      std::istringstream fields(text.substr(end_of_name + 1));
      std::string state;
      pid_t parent = 0;
      std::ifstream command(entry.path() / "cmdline");
      std::string program, verb;  // the launcher has another child, which is none
      std::getline(std::getline(command, program, '\0'), verb, '\0');
      if (fields >> state >> parent && parent == pid_ && verb == "train") ranks.push_back(std::stoi(pid));
    }
    return !ranks.empty() && kill(ranks[index % ranks.size()], SIGKILL) == 0;
  }
  void wait() {
    if (pid_ > 0) waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
};

// All ranks at once, as when a machine goes, or one of them, after which the launcher ends the others.
TEST(CheckpointKill, AnyMomentLeavesTheNewestCheckpointWhole) {
  const OutputFolder dump;
  const int num_kills = test::runs_all() ? 50 : 4;
  int64_t newest = 0;
  unsigned random = 4711;
  for (int i = 0; i < num_kills; ++i) {
    const char* const mode = i % 4 < 2 ? "disabled" : "async";
    RunningJob running(job(
        dump.path(), 4,
        joined(degrees(1, 2, 2), {"--training.steps=100000", "--checkpoint.interval=1", "--checkpoint.keep_latest_k=2",
                                  std::string("--checkpoint.async_mode=") + mode})));
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    const auto has_news = [&] {
      const auto steps = steps_in(dump.path());
      return !steps.empty() && steps.back() > newest;
    };
    while (!has_news() && std::chrono::steady_clock::now() < give_up) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    random = random * 1664525 + 1013904223;
    std::this_thread::sleep_for(std::chrono::microseconds(random >> 16));  // up to 65 ms: some saves
    if (i % 2 == 0) running.kill_all();
    if (i % 2 == 1) {
      ASSERT_TRUE(running.kill_rank(random));
    }
    running.wait();

    const auto steps = steps_in(dump.path());
    ASSERT_FALSE(steps.empty());
    ASSERT_GE(steps.back(), newest);
    newest = steps.back();
    for (const int64_t step : steps) {
      checkpoint::verify_contents(CheckpointFolder(dump.path() / "checkpoint").step_path(step));  // throws if not whole
    }
  }
  // The next run tidies up and goes on.
  const Finished last = run(dump.path(), 1, {"--training.steps=" + std::to_string(newest + 1)});
  ASSERT_EQ(last.exit_code, 0) << last.err;
  EXPECT_NE(last.out.find("Training starts at step " + std::to_string(newest + 1)), std::string::npos) << last.out;
  for (const auto& entry : std::filesystem::directory_iterator(dump.path() / "checkpoint")) {
    EXPECT_TRUE(entry.path().filename().string().starts_with("step-")) << entry.path();
  }
}

// Whether a child may mount something over `folder`, seen by itself alone.
bool may_mount(const std::filesystem::path& folder) {
  const pid_t child = fork();
  if (child == 0) {
    _exit(unshare(CLONE_NEWNS) == 0 && mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                  mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=1m") == 0
              ? 0
              : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Runs a job after the shell command `before`, in a child whose mounts are its own if it mounts something.
Finished run_after(const std::string& before, bool mounts, const std::filesystem::path& dump, const Strings& flags) {
  std::string command = before + " exec";
  for (const std::string& word : job(dump, 2, flags)) command += " '" + word + "'";
  Strings argv{"/bin/sh", "-c", command};
  if (mounts) argv = {"/usr/bin/unshare", "-m", "--propagation", "private", "/bin/sh", "-c", command};
  return test::run_program(argv, {.environment = {{"OMP_NUM_THREADS", "1"}}});
}

// Runs a job that sees a small disk: a tmpfs of its own where that may be mounted, else no file may grow. Tells which.
Finished run_on_small_disk(const std::filesystem::path& dump, const Strings& flags, bool& is_tmpfs) {
  std::filesystem::create_directories(dump);
  is_tmpfs = may_mount(dump);
  return run_after(
      is_tmpfs ? "mount -t tmpfs -o size=1200k tmpfs '" + dump.string() + "' &&" : "ulimit -f 300; trap '' XFSZ;",
      is_tmpfs, dump, flags);
}

// About 0.7 MiB a checkpoint, of which the disk holds one.
TEST(CheckpointDiskFull, StopsOrGoesOnAsTheJobAsks) {
  const OutputFolder stop, warn;
  bool is_tmpfs = false;
  const Strings flags =
      joined(degrees(1, 2, 1), {"--checkpoint.interval=2", "--training.steps=6", "--model.args.dim=48"});
  const Finished stopped = run_on_small_disk(stop.path() / "disk", flags, is_tmpfs);
  EXPECT_EQ(stopped.exit_code, 1) << stopped.out;
  const std::string reason = is_tmpfs ? "No space left on device" : "File too large";
  EXPECT_NE(stopped.err.find(reason), std::string::npos) << stopped.err;
  EXPECT_NE(stopped.err.find("checkpoint.on_save_error = warn would go on"), std::string::npos) << stopped.err;

  for (const char* mode : {"disabled", "async"}) {
    const Finished warned = run_on_small_disk(
        warn.path() / mode,
        joined(flags, {"--checkpoint.on_save_error=warn", std::string("--checkpoint.async_mode=") + mode}), is_tmpfs);
    EXPECT_EQ(warned.exit_code, 0) << warned.err;
    EXPECT_NE(warned.out.find("No checkpoint was saved, training goes on"), std::string::npos) << warned.out;
    EXPECT_NE(warned.out.find("Training completed"), std::string::npos);
  }
}

// Nobody writes there, and the checkpoint that is there is loaded, and stays.
TEST(CheckpointFolderReadOnly, IsAnErrorThatNamesItAndWhatIsThereStays) {
  const OutputFolder dump;
  const std::filesystem::path folder = dump.path() / "checkpoint";
  const auto flags = [](int64_t steps, const Strings& more = {}) {
    return joined(joined(degrees(1, 2, 1), {"--checkpoint.interval=2", "--training.steps=" + std::to_string(steps)}),
                  more);
  };
  const Finished first = run(dump.path(), 2, flags(2));
  ASSERT_EQ(first.exit_code, 0) << first.err;

  // Root may write wherever the file system lets him.
  const bool is_root = geteuid() == 0;
  if (is_root && !may_mount(folder)) GTEST_SKIP() << "root, but may not mount: nothing is read-only to this user";
  const std::string quoted = "'" + folder.string() + "'";
  const std::string protect =
      is_root ? "mount --bind " + quoted + " " + quoted + " && mount -o remount,ro,bind " + quoted + " &&"
              : "chmod a-w " + quoted + " &&";
  const Finished stopped = run_after(protect, is_root, dump.path(), flags(6));
  EXPECT_EQ(stopped.exit_code, 1) << stopped.out;
  EXPECT_NE(stopped.out.find("Training starts at step 3"), std::string::npos) << stopped.out;
  EXPECT_NE(stopped.err.find(is_root ? "Read-only file system" : "Permission denied"), std::string::npos)
      << stopped.err;
  EXPECT_NE(stopped.err.find(folder.string()), std::string::npos) << stopped.err;
  const Finished warned = run_after(protect, is_root, dump.path(), flags(6, {"--checkpoint.on_save_error=warn"}));
  EXPECT_EQ(warned.exit_code, 0) << warned.err;
  EXPECT_NE(warned.out.find("No checkpoint was saved, training goes on"), std::string::npos) << warned.out;
  std::filesystem::permissions(folder, std::filesystem::perms::owner_write, std::filesystem::perm_options::add);

  EXPECT_EQ(CheckpointFolder(folder).steps(), std::vector<int64_t>{2});
  checkpoint::verify_contents(CheckpointFolder(folder).step_path(2));  // throws if it is not whole
}

TEST(CheckpointFolderGone, IsAnErrorThatNamesIt) {
  const OutputFolder dump;
  std::ofstream(dump.path() / "checkpoint") << "a file in its place\n";
  const Finished stopped = run(dump.path(), 2, joined(degrees(1, 2, 1), {"--checkpoint.interval=2"}));
  EXPECT_EQ(stopped.exit_code, 1);
  EXPECT_NE(stopped.err.find("checkpoint: cannot be created: "), std::string::npos) << stopped.err;
  const Finished warned =
      run(dump.path(), 2, joined(degrees(1, 2, 1), {"--checkpoint.interval=2", "--checkpoint.on_save_error=warn"}));
  EXPECT_EQ(warned.exit_code, 0) << warned.err;
}

}  // namespace
}  // namespace titan
