import { useEffect } from "react";
import { t } from "../i18n";
import { announce, sentences } from "../ui/announce";
import type { RunFollower, RunState } from "./follower";

const EVERY_MS = 1500;

/** A screen reader hears an answer by finished sentences, never by tokens, and once how it ended. */
export function useSpoken(follower: RunFollower | null, state: RunState): void {
  const running = state.status === "running";
  useEffect(() => {
    if (!follower || !running) return;
    announce(t("say.started"));
    let spoken = follower.text.length;
    const say = (final: boolean) => {
      const { words, next } = sentences(follower.text, spoken, final);
      spoken = next;
      if (words) announce(words);
    };
    const timer = setInterval(() => say(false), EVERY_MS);
    return () => {
      clearInterval(timer);
      const { status, errorMessage } = follower.state;
      if (status === "running") return;
      say(true);
      announce(
        status === "complete" ? t("say.done") : status === "stopped" ? t("say.stopped") : t("say.failed", { reason: errorMessage }),
      );
    };
  }, [follower, running]);
}
