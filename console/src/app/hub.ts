import { createContext, useContext } from "react";
import type { EnvelopeList, ModelList, Session } from "../api/types";

/** What every area of the console shares. */
export interface Hub {
  session: Session;
  models: ModelList | null;
  model: string;
  setModel: (model: string) => void;
  limits: EnvelopeList | null;
  refreshLimits: () => void;
  /** Show a sentence at the bottom for a few seconds. */
  notify: (text: string) => void;
  /** Open the list of areas and chats on a small screen. */
  openMenu: () => void;
}

export const HubContext = createContext<Hub | null>(null);

export function useHub(): Hub {
  const hub = useContext(HubContext);
  if (!hub) throw new Error("useHub outside the shell");
  return hub;
}
