import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";

const NEAR_PX = 64;

/** Keeps the end of a thread in view while it grows, but only while the reader is at the end. */
export function useStick(key: string | null, enabled: boolean) {
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const sticking = useRef(true);
  const wanted = useRef(enabled);
  wanted.current = enabled;
  const lastTop = useRef(0);
  const [atBottom, setAtBottom] = useState(true);

  const settle = useCallback(() => {
    const element = scroller.current;
    if (element && sticking.current && wanted.current) {
      const bottom = element.scrollHeight - element.clientHeight;
      element.scrollTop = bottom;
      lastTop.current = bottom;
    }
  }, []);
  const onScroll = useCallback(() => {
    const element = scroller.current;
    if (!element) return;
    const near = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_PX;
    // Growth never moves the reader up; only the reader does.
    if (near) sticking.current = true;
    else if (element.scrollTop < lastTop.current - 2) sticking.current = false;
    lastTop.current = element.scrollTop;
    setAtBottom(near || sticking.current);
  }, []);
  const toBottom = useCallback(() => {
    sticking.current = true;
    setAtBottom(true);
    settle();
  }, [settle]);
  /** Run something that adds content above, and keep what is read in its place. */
  const keep = useCallback(async (load: () => Promise<void>) => {
    const element = scroller.current;
    if (!element) return;
    sticking.current = false;
    const fromEnd = element.scrollHeight - element.scrollTop;
    await load();
    requestAnimationFrame(() => {
      element.scrollTop = element.scrollHeight - fromEnd;
    });
  }, []);

  useLayoutEffect(() => {
    sticking.current = true;
    setAtBottom(true);
    settle();
  }, [key, settle]);
  useEffect(() => {
    // Called when the layout of the frame is done: to read sizes costs nothing here, anywhere else it forces a layout.
    const observer = new ResizeObserver(settle);
    if (content.current) observer.observe(content.current);
    if (scroller.current) observer.observe(scroller.current);
    return () => observer.disconnect();
  }, [settle]);

  return useMemo(
    () => ({ scroller, content, onScroll, toBottom, keep, settle, atBottom }),
    [onScroll, toBottom, keep, settle, atBottom],
  );
}
